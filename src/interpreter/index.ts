export type { InsnEvent } from '../contracts/observe.ts';
export {
  createInterpreter,
  DEFAULT_INSTRUCTION_LIMIT,
  type InterpretedProgram,
  type Interpreter,
  type InterpreterOptions,
  Lane,
  type Place,
  watch,
} from './engine.ts';
export { describePlace } from './fault.ts';
export { OUTCOME } from './machine.ts';
