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
export { ProgramSource, type SourceFunction } from './source.ts';
