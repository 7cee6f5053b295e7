/**
 * Stand-in for the map types that are not implemented: a map that can be made, named and verified against, but holds nothing.
 * As with helpers, what is missing shows when a program that passed verification is made ready to run (`rewrite` refuses it);
 * the commands on its elements say ENOTSUPP.
 */
import { MapBase, type MapTypeImpl } from './base.ts';

class ShapeOnlyMap extends MapBase {
  readonly shapeOnly = true;
}

export const SHAPE_ONLY: MapTypeImpl = {
  create: (params, ctx, blocks) => new ShapeOnlyMap(params, ctx, blocks),
  ops: () => ({}),
};
