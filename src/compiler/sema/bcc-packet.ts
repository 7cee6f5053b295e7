/**
 * BCC dialect: headers of packets (`bcc/proto.h`, `BPF_PACKET_HEADER`). A pointer to one is an offset in the packet of the program's
 * first argument; reading a field loads it from the packet in host order, writing one stores it in network order, and bit-fields count
 * from the most significant bit on, as RFCs draw them. Addresses of fields stay offsets: `incr_cksum_l3(&ip->hchecksum, …)`.
 */
import { type CType, core, type Expr, type FunctionType, type VarDecl } from '../ast/index.ts';
import type { Location } from '../source/index.ts';
import { INT, sizeOf, ULONG, unqualified } from './arithmetic-types.ts';
import { StatementSema } from './statements.ts';

export abstract class PacketSema extends StatementSema {
  protected get bcc(): boolean {
    return this.options.dialect === 'bcc';
  }

  protected override rvalue(expr: Expr): Expr {
    if (!this.bcc || !expr.lvalue) return super.rvalue(expr);
    const place = this.packetPlace(expr);
    if (place === null) return super.rvalue(expr);
    const value = this.headerCall('__bcc_packet_read', place, expr.loc);
    return value.kind === 'error' ? value : this.castTo(value, unqualified(expr.type));
  }

  protected override assignment(op: string, target: Expr, node: Expr, loc: Location): Expr {
    const place = this.bcc && target.kind === 'member' ? this.packetPlace(target) : null;
    if (place === null) return super.assignment(op, target, node, loc);
    if (op !== '=') {
      this.error('packet', `'${op}' on a field of a packet: write '=' with both sides`, loc);
      return this.errorExpr(loc);
    }
    const value = this.assignConvert(node, unqualified(target.type), { kind: 'assign' });
    if (value.kind === 'error') return value;
    return this.headerCall('__bcc_packet_write', [...place, this.castTo(value, ULONG)], loc);
  }

  /** Packet, byte, first bit, and number of bits of a field of a header; null: it is none, or the address is wanted of an array. */
  private packetPlace(expr: Expr): Expr[] | null {
    if (expr.kind !== 'member' || expr.record.kind !== 'deref' || this.unevaluated > 0) return null;
    const record = core(expr.record.type);
    if (record.kind !== 'record' || record.attributes.packet !== true) return null;
    const type = core(expr.type);
    if (type.kind === 'array' || type.kind === 'record') return null;
    const { loc } = expr;
    const packet = this.packet(loc);
    const { offset, bitWidth } = expr.field;
    const base = this.castTo(expr.record.pointer, ULONG, true);
    const number = (value: number): Expr => this.intExpr(BigInt(value), INT, loc);
    return [
      packet,
      base,
      number(Math.floor(offset / 8)),
      number(offset % 8),
      number(bitWidth ?? 8 * sizeOf(expr.type)),
    ];
  }

  /** The packet: the first argument of the function. */
  protected packet(loc: Location): Expr {
    const context = this.function?.decl.parameters[0];
    if (context === undefined) {
      this.error('packet', "packets are read in functions whose first argument is the packet's context", loc);
      return this.errorExpr(loc);
    }
    context.referenced = true;
    return super.rvalue({ kind: 'decl-ref', decl: context, type: context.type, lvalue: true, loc });
  }

  // Calls of the dialect's header --------------------------------------------------------------------------------

  protected unnamed(type: CType, loc: Location): VarDecl {
    return {
      kind: 'var',
      name: '.temporary',
      id: this.nextId++,
      type: unqualified(type),
      storage: 'local',
      register: false,
      threadLocal: false,
      attributes: {},
      init: null,
      owner: this.function?.decl ?? null,
      loc,
      addressTaken: false,
      referenced: true,
    };
  }

  protected headerCall(name: string, args: readonly Expr[], loc: Location): Expr {
    const callee = this.rvalue(this.expr({ kind: 'name', name, loc, depth: 0 }));
    if (callee.kind === 'error') return callee;
    const pointer = core(callee.type);
    const type = core(pointer.kind === 'pointer' ? pointer.pointee : pointer) as FunctionType;
    if (args.some((arg) => arg.kind === 'error')) return this.errorExpr(loc);
    const converted = type.parameters.map((parameter, i) =>
      this.assignConvert(args[i]!, parameter.type, {
        kind: 'argument',
        parameter: parameter.name,
        location: 0,
      }),
    );
    return {
      kind: 'call',
      callee,
      args: converted,
      functionType: type,
      helper: null,
      type: unqualified(type.result),
      lvalue: false,
      loc,
    };
  }
}
