import { createInterpreter } from '../../src/interpreter/index.ts';
import { engineContract } from './contract.ts';

engineContract('interpreter', () => createInterpreter());
