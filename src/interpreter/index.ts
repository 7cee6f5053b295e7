export {
  createInterpreter,
  DEFAULT_INSTRUCTION_LIMIT,
  type InterpretedProgram,
  type Interpreter,
  type InterpreterOptions,
} from './engine.ts';
export { describePlace } from './fault.ts';
export type { InsnEvent } from './machine.ts';
