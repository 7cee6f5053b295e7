/** Recordings of perf(1): its binary file, and the text of `perf script`. */
export { type PerfEventName, type PerfRecording, parsePerfData } from './data.ts';
export { isPerfData, isPerfScript } from './detect.ts';
export { type PerfScript, parsePerfScript, type RecordedFrame } from './script.ts';
