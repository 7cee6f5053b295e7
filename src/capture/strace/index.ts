export { parseStrace, type SkippedLine, type StraceOptions, type StraceRecording } from './recording.ts';
