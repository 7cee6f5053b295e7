export { CLASSIC_FUNCTIONS } from './classic.ts';
export { IMPLEMENTED_HELPER_IDS, IMPLEMENTED_HELPERS } from './implemented.ts';
export { createHelpers } from './registry.ts';
