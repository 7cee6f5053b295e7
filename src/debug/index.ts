export { ExecutionCounter, type ProgramCounts, type StackNode } from './coverage/counter.ts';
export { lcovText } from './coverage/lcov.ts';
export {
  type CoverageReport,
  type CoveredBranch,
  type CoveredFile,
  type CoveredFunction,
  type CoveredLine,
  type CoveredProgram,
  coverageReport,
  type Share,
} from './coverage/report.ts';
export { foldedStacks, type Profile, type ProfiledFunction, type ProfiledLine, profile } from './profile.ts';
export { Recorder, RecordingFull, type RecordOptions } from './recording/recorder.ts';
export { type MemoryChange, Recording, type StepKind } from './recording/recording.ts';
export {
  type Breakpoint,
  type BreakpointPlace,
  Debugger,
  type Direction,
  recordedFunctions,
  type Stop,
} from './session/debugger.ts';
export { Inspector, type Location, type Shown } from './session/inspect.ts';
export { ProgramSource, type SourceFunction } from './source.ts';
