/** Rejections that people understand: reason, place, path and fix, as data and in words. */
export { explain } from './explain.ts';
export { REASONS } from './table/index.ts';
