/** The same suites on a memory that threads may share: the maps' module with locks, slabs of the map's own. */
import { TestKernel } from './env.ts';

TestKernel.shared = true;
await import('./contract.test.ts');
await import('./model.test.ts');
await import('./types.test.ts');
