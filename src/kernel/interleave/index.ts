export { interleave } from './interleave.ts';
