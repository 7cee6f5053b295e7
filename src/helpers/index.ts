export { CLASSIC_FUNCTIONS } from './classic.ts';
export { IMPLEMENTED_HELPER_IDS, IMPLEMENTED_HELPERS } from './implemented.ts';
export { IMPLEMENTED_KFUNCS } from './kfuncs/index.ts';
export { createHelpers, createKfuncTable } from './registry.ts';
