/** Places in memory: what an lvalue names, member by member, with the accesses that the loader may move (CO-RE). */
import { type CType, core, type Expr, type MemberExpr, type SubscriptExpr } from '../ast/index.ts';
import { constant, FLAG, isConst, undef, type Value } from '../ir/index.ts';
import { LowerContext, type Place } from './context.ts';
import { initialise, loadPlace, plainPlace } from './memory.ts';
import { alignOf, isAggregate, isRecord, sizeOf } from './types.ts';

export abstract class PlaceLowering extends LowerContext {
  /** Room for an object without a name. */
  temporary(type: CType, name: string): Value {
    return this.builder.alloca(Math.max(1, sizeOf(type)), alignOf(type), name);
  }

  addressOf(place: Place): Value {
    if (place.address !== undefined) return place.address;
    const { base, root, path, offset } = place.chain!;
    const by = this.builder.core('i64', {
      relo: 0,
      root,
      access: path.join(':'),
      local: BigInt(Math.floor(offset / 8)),
    });
    return this.builder.ptradd(base, by);
  }

  place(expr: Expr): Place {
    const { builder } = this;
    switch (expr.kind) {
      case 'decl-ref': {
        const { decl } = expr;
        if (decl.kind === 'function') return plainPlace(this.module.funcOf(decl), expr.type);
        const local = this.locals.get(decl);
        if (local !== undefined) return plainPlace(local, expr.type);
        if (decl.storage === 'local' || decl.storage === 'parameter') {
          const made = builder.alloca(Math.max(1, sizeOf(decl.type)), alignOf(decl.type), decl.name);
          this.locals.set(decl, made);
          return plainPlace(made, expr.type);
        }
        return plainPlace(this.module.globalOf(decl), expr.type);
      }
      case 'string':
        return plainPlace(this.module.literal(expr), expr.type);
      case 'deref':
        return plainPlace(this.value(expr.pointer), expr.type);
      case 'subscript':
        return this.placeOfElement(expr.base, expr.index, expr, false);
      case 'member':
        return this.placeOfMember(expr);
      case 'compound-literal': {
        if (expr.decl.storage !== 'local') return plainPlace(this.module.globalOf(expr.decl), expr.type);
        let address = this.locals.get(expr.decl);
        if (address === undefined) {
          address = this.temporary(expr.decl.type, 'literal');
          this.locals.set(expr.decl, address);
        }
        initialise(this, expr.decl, address);
        return plainPlace(address, expr.type);
      }
      case 'cast':
        if (expr.how === 'same' || expr.how === 'load') return this.place(expr.operand);
        return plainPlace(this.value(expr), expr.type);
      case 'builtin':
        if (expr.name === 'preserve_access_index') return this.place(expr.args[0]!);
        return plainPlace(this.value(expr), expr.type);
      default:
        return plainPlace(this.value(expr), expr.type);
    }
  }

  private placeOfMember(expr: MemberExpr): Place {
    const { field } = expr;
    // Members of what a call or a statement expression gives are no lvalues, and places all the same.
    const outer: Place =
      expr.record.lvalue || expr.record.kind === 'member'
        ? this.place(expr.record)
        : plainPlace(this.recordValue(expr.record), expr.record.type);
    const volatile = outer.volatile || plainPlace(undef('ptr'), expr.type).volatile;
    // The path starts at the outermost record; a union on it makes the access one of anything.
    const root = outer.root === null || field.record.union ? null : (outer.root ?? field.record);
    this.builder.loc = expr.loc;
    if (expr.preserve || outer.chain !== undefined) {
      const chain = outer.chain ?? { base: outer.address!, root: expr.record.type, path: [0], offset: 0 };
      const extended = {
        ...chain,
        path: [...chain.path, field.index],
        offset: chain.offset + field.offset,
      };
      if (field.bitWidth === null)
        return { address: undefined, chain: extended, type: expr.type, volatile, root, bits: undefined };
      // The loader moves the unit that holds the bits; their place in it is fixed.
      const unit = Math.floor(field.offset / 8 / sizeOf(field.type)) * sizeOf(field.type);
      return {
        address: undefined,
        chain: { ...extended, offset: chain.offset + unit * 8 },
        type: expr.type,
        volatile,
        bits: { offset: field.offset - unit * 8, width: field.bitWidth, recordSize: sizeOf(field.type) },
      };
    }
    const address = this.addressOf(outer);
    if (field.bitWidth !== null)
      return {
        address,
        chain: undefined,
        type: expr.type,
        volatile,
        bits: { offset: field.offset, width: field.bitWidth, recordSize: Math.max(field.record.size, 1) },
      };
    return {
      address: this.builder.ptradd(address, BigInt(Math.floor(field.offset / 8))),
      chain: undefined,
      type: expr.type,
      volatile,
      root,
      bits: undefined,
    };
  }

  protected placeOfElement(
    base: Expr,
    index: Expr,
    expr: Pick<SubscriptExpr, 'scale' | 'preserve' | 'type' | 'loc'>,
    negative: boolean,
  ): Place {
    const type = 'kind' in expr && expr.kind === 'pointer-add' ? pointee(expr.type) : expr.type;
    const array = base.kind === 'cast' && base.how === 'decay' ? base.operand : undefined;
    const outer = array !== undefined && array.kind !== 'string' ? this.place(array) : undefined;
    if ((expr.preserve || outer?.chain !== undefined) && !negative) {
      const at = this.value(index);
      if (isConst(at)) {
        const number = Number(BigInt.asIntN(64, at.value));
        const step = number * expr.scale * 8;
        if (outer?.chain !== undefined)
          return {
            address: undefined,
            chain: { ...outer.chain, path: [...outer.chain.path, number], offset: outer.chain.offset + step },
            type,
            volatile: plainPlace(undef('ptr'), type).volatile,
            bits: undefined,
          };
        if (expr.preserve && isRecord(type)) {
          const from = outer === undefined ? this.value(base) : this.addressOf(outer);
          return {
            address: undefined,
            chain: { base: from, root: type, path: [number], offset: step },
            type,
            volatile: false,
            bits: undefined,
          };
        }
      }
      const from = outer === undefined ? this.value(base) : this.addressOf(outer);
      return plainPlace(this.builder.ptradd(from, this.scaled(at, expr.scale)), type);
    }
    const from = outer === undefined ? this.value(base) : this.addressOf(outer);
    const at = this.value(index);
    this.builder.loc = expr.loc;
    const place = plainPlace(
      this.builder.ptradd(from, this.scaled(at, negative ? -expr.scale : expr.scale)),
      type,
    );
    return outer?.root === null ? { ...place, root: null } : place;
  }

  /** The address of an object that holds a record which is the value of an expression. */
  private recordValue(expr: Expr): Value {
    return this.value(expr);
  }

  protected memberOfValue(expr: MemberExpr): Value {
    const place = this.placeOfMember(expr);
    return isAggregate(expr.type) ? this.addressOf(place) : loadPlace(this, place);
  }

  protected scaled(index: Value, scale: number): Value {
    const { builder } = this;
    const wide = builder.resize(index, 'i64', true);
    if (isConst(wide)) return constant('i64', BigInt.asIntN(64, wide.value) * BigInt(scale));
    if (scale === 1) return wide;
    if (scale === -1) return builder.binary('sub', constant('i64', 0n), wide);
    return builder.binary('mul', wide, constant('i64', BigInt(scale)), FLAG.NSW);
  }
}

function pointee(type: CType): CType {
  const is = core(type);
  return is.kind === 'pointer' ? is.pointee : type;
}
