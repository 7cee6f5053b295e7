import { createJit } from '../../src/jit/index.ts';
import { engineContract } from '../engines/contract.ts';

engineContract('jit', () => createJit());
engineContract('jit without tail-call instructions', () => createJit({ tailCalls: false }));
