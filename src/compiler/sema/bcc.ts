/**
 * The BCC dialect: what its C has beyond GNU C. Tables have methods, typed by the key and value of the table; functions that others can
 * see are programs, and get what their names say; arguments behind the context are read from the registers of the probed function;
 * a `struct tracepoint__category__event` is made from the event's format file. Everything else is macros and functions of the
 * dialect's header (`headers/bcc.ts`). Nothing of this applies to other C.
 */
import {
  type CType,
  core,
  type EnumType,
  type Expr,
  type Field,
  type FunctionDecl,
  QUAL_CONST,
  qualify,
  type RecordType,
  type VarDecl,
} from '../ast/index.ts';
import type { Attribute, SExpr, SFunctionDefinition, SParameter, SStmt } from '../parse/index.ts';
import type { Location } from '../source/index.ts';
import { CHAR, INT, integerOfSize, isVoid, pointerTo, sizeOf, ULONG, VOID } from './arithmetic-types.ts';
import { METHODS, type MethodArgument, probeSection, TABLE_KINDS } from './bcc-methods.ts';
import { PacketSema } from './bcc-packet.ts';
import { stringText } from './literals.ts';
import { type FormatField, parseTracepointFormat } from './tracepoint-format.ts';

type CallNode = Extract<SExpr, { readonly kind: 'call' }>;

/** Functions of the kernel whose registers lie behind the first argument: system calls by their wrappers. */
const SYSCALL_PREFIXES = ['syscall__', 'kprobe____x64_sys_', 'kprobe____arm64_sys_'];
const MAX_ARGUMENTS = 6;
const TRACEPOINT_TAG = 'tracepoint__';

/** Functions that get the length of the literal before them. */
const TAKES_LITERAL: ReadonlySet<string> = new Set(['bpf_trace_printk']);
const KIND_OF_TABLE = '__bcc_table_kind';
const PACKET = '__bcc_packet';
/** Of the variable that `BPF_RINGBUF_OUTPUT` declares beside a table. */
const LOST = '__bcc_lost_';

interface Table {
  readonly variable: VarDecl;
  readonly key: CType | undefined;
  readonly leaf: CType | undefined;
}

export abstract class BccSema extends PacketSema {
  // -------------------------------------------------------------------------------------------------------------
  // Calls

  protected override dialectCall(node: CallNode): Expr | null {
    if (!this.bcc) return null;
    let { callee } = node;
    while (callee.kind === 'paren') callee = callee.inner;
    if (callee.kind === 'member' && !callee.arrow) {
      const table = this.tableOf(callee.object);
      return table === null ? null : this.method(table, callee, node);
    }
    if (callee.kind !== 'name') return null;
    if (callee.name === PACKET) return this.packet(node.loc);
    const first = node.args[0];
    if (first === undefined || first.kind !== 'string') return null;
    if (callee.name === KIND_OF_TABLE)
      return this.tableKind(
        node.args.map((arg) => (arg.kind === 'string' ? stringText(arg.tokens) : '')),
        first.loc,
      );
    if (!TAKES_LITERAL.has(callee.name)) return null;
    const size: SExpr = { kind: 'sizeof-expr', operand: first, align: false, loc: first.loc, depth: 1 };
    // The call is then an ordinary one; its first argument is no literal any more for this function.
    const literal: SExpr = { kind: 'unary', op: '&', operand: first, loc: first.loc, depth: 1 };
    const pointer: SExpr = { kind: 'unary', op: '*', operand: literal, loc: first.loc, depth: 2 };
    return this.call({ ...node, args: [pointer, size, ...node.args.slice(1)] });
  }

  /** `KIND`, `KIND:PATH` where it is pinned, `KIND$TABLE` for maps of such tables; then the table's name, and whether it is lent. */
  private tableKind([text = '', table = '', sharing = '']: readonly string[], loc: Location): Expr {
    const [, name = '', inner, pinned] = /^([^:$]*)(?:\$([^:]*))?(?::(.*))?$/.exec(text) ?? [];
    const kind = Object.hasOwn(TABLE_KINDS, name) ? TABLE_KINDS[name] : undefined;
    const how = name === 'extern' ? name : sharing;
    if (inner !== undefined || pinned !== undefined || isSharing(how))
      this.options.onTable?.(table, {
        ...(inner === undefined ? {} : { inner }),
        ...(pinned === undefined || pinned === '' ? {} : { pinned }),
        ...(isSharing(how) ? { sharing: how } : {}),
      });
    if (kind === undefined) {
      this.error(
        'table',
        `unknown kind of table '${name}'; there are ${Object.keys(TABLE_KINDS).join(', ')}`,
        loc,
      );
      return this.errorExpr(loc);
    }
    return this.intExpr(BigInt(kind), INT, loc);
  }

  private tableOf(node: SExpr): Table | null {
    let at = node;
    while (at.kind === 'paren') at = at.inner;
    if (at.kind !== 'name') return null;
    const symbol = this.lookup(at.name);
    if (symbol?.kind !== 'var' || symbol.attributes.section !== '.maps') return null;
    const record = core(symbol.type);
    if (record.kind !== 'record') return null;
    const type = (name: string): CType | undefined => {
      const field = this.findField(record, name)?.at(-1);
      const pointer = field === undefined ? undefined : core(field.type);
      return pointer?.kind === 'pointer' && !isVoid(pointer.pointee) ? pointer.pointee : undefined;
    };
    return { variable: symbol, key: type('key'), leaf: type('value') };
  }

  private method(table: Table, callee: Extract<SExpr, { readonly kind: 'member' }>, node: CallNode): Expr {
    const { loc } = node;
    const row = Object.hasOwn(METHODS, callee.name) ? METHODS[callee.name] : undefined;
    if (row === undefined) {
      for (const arg of node.args) this.expr(arg);
      this.error(
        'table-method',
        `table '${table.variable.name}' has no method '${callee.name}'`,
        callee.nameLoc,
        [{ message: `'${table.variable.name}' declared here`, location: table.variable.loc }],
      );
      return this.errorExpr(loc);
    }
    const most = row.arguments.length;
    const defaults = row.defaults ?? [];
    const have = node.args.length;
    if (have > most || have < most - defaults.length) {
      const least = most - defaults.length;
      this.error(
        'arguments',
        `too ${have > most ? 'many' : 'few'} arguments to '${table.variable.name}.${callee.name}', expected ${least === most ? '' : `${least} to `}${most}, have ${have}`,
        have > most ? this.beginOf(node.args[most]!) : node.end,
      );
      return this.errorExpr(loc);
    }
    const args: Expr[] = [this.expr({ kind: 'unary', op: '&', operand: callee.object, loc, depth: 1 })];
    for (let i = 0; i < most; i++) {
      const arg = node.args[i];
      args.push(
        arg === undefined
          ? this.intExpr(defaults[i - (most - defaults.length)]!, INT, loc)
          : this.methodArgument(row.arguments[i]!, table, arg),
      );
    }
    if (row.event !== undefined) this.noteEvent(table.variable.name, args[row.event + 1]!);
    if (row.sized === true)
      args.push(this.intExpr(BigInt(table.leaf === undefined ? 0 : sizeOf(table.leaf)), ULONG, loc));
    if (row.lost === true) args.push(this.lostCounter(table.variable.name, loc));
    const result = this.headerCall(row.function, args, loc);
    if (row.leaf !== true || table.leaf === undefined || result.kind === 'error') return result;
    const value = this.castTo(result, pointerTo(table.leaf), true);
    return row.returns === true ? this.orReturn(value, loc) : value;
  }

  private lostCounter(table: string, loc: Location): Expr {
    const name = LOST + table;
    if (this.lookup(name) === undefined)
      return this.castTo(this.intExpr(0n, ULONG, loc), pointerTo(ULONG), true);
    return this.expr({
      kind: 'unary',
      op: '&',
      operand: { kind: 'name', name, loc, depth: 0 },
      loc,
      depth: 1,
    });
  }

  private noteEvent(table: string, data: Expr): void {
    const pointer = core(data.type);
    const record = pointer.kind === 'pointer' ? core(pointer.pointee) : pointer;
    if (record.kind === 'record' && record.tag !== null && record.complete) this.events.set(table, record);
  }

  private methodArgument(what: MethodArgument, table: Table, node: SExpr): Expr {
    const type = what === 'key' || what === 'keyValue' ? table.key : table.leaf;
    const context = { kind: 'argument', parameter: null, location: 0 } as const;
    if (what === 'plain' || type === undefined) return this.rvalue(this.expr(node));
    if (what === 'keyValue')
      return this.temporary(type, this.assignConvert(this.expr(node), type, context), node.loc);
    const pointee = what === 'out' ? type : qualify(type, QUAL_CONST, 0);
    const value = this.rvalue(this.expr(node));
    const from = core(value.type);
    // The tables of old programs are not strict about the type of what is pointed to, where its size is right.
    if (
      from.kind === 'pointer' &&
      (isVoid(from.pointee) || (core(from.pointee) !== core(type) && sameSize(from.pointee, type)))
    )
      return this.castTo(value, pointerTo(pointee), true);
    return this.assignConvert(value, pointerTo(pointee), context, this.beginOf(node));
  }

  /** The address of an unnamed object with that value. */
  private temporary(type: CType, value: Expr, loc: Location): Expr {
    if (value.kind === 'error') return value;
    const decl = this.unnamed(type, loc);
    decl.init = { type, entries: [{ offset: 0, type, bits: null, value }], zero: false, loc };
    decl.addressTaken = true;
    const object: Expr = { kind: 'compound-literal', decl, type, lvalue: true, loc };
    return { kind: 'address', operand: object, type: pointerTo(type), lvalue: false, loc };
  }

  /** `({ if (!value) return 0; value; })`, as the older look-up has it. */
  private orReturn(value: Expr, loc: Location): Expr {
    if (this.function === null) return value;
    const { result } = this.function;
    const variable = this.unnamed(value.type, loc);
    variable.init = {
      type: value.type,
      entries: [{ offset: 0, type: value.type, bits: null, value }],
      zero: false,
      loc,
    };
    const read = (): Expr =>
      this.rvalue({ kind: 'decl-ref', decl: variable, type: variable.type, lvalue: true, loc });
    const zero = isVoid(result) ? null : this.castTo(this.intExpr(0n, INT, loc), result);
    return {
      kind: 'statement-expr',
      body: {
        kind: 'compound',
        body: [
          { kind: 'decl', variables: [variable], loc },
          {
            kind: 'if',
            cond: { kind: 'unary', op: '!', operand: read(), type: INT, lvalue: false, loc },
            // biome-ignore lint/suspicious/noThenProperty: the tree's own name
            then: { kind: 'return', value: zero, loc },
            otherwise: null,
            loc,
          },
        ],
        loc,
        end: loc,
      },
      result: read(),
      type: value.type,
      lvalue: false,
      loc,
    };
  }

  // -------------------------------------------------------------------------------------------------------------
  // Programs

  protected override dialectFunction(decl: FunctionDecl): void {
    if (!this.bcc) return;
    // Weak ones are of headers (usdt.bpf.h).
    if (decl.static || decl.inline || decl.attributes.weak === true) {
      if (decl.attributes.noinline !== true) decl.attributes.alwaysInline = true;
      return;
    }
    decl.attributes.section ??= probeSection(decl.name, contextTag(decl));
    if (decl.attributes.noinline !== true) decl.attributes.alwaysInline = true;
  }

  /** Arguments behind a `struct pt_regs *` become variables, read from the registers as the function begins. */
  protected probeFunction(node: SFunctionDefinition): SFunctionDefinition {
    const step = node.declarator.steps[0];
    if (!this.bcc || step?.kind !== 'function' || step.parameters.length < 2) return node;
    if (node.specifiers.storage === 'static' || node.specifiers.inline) return node;
    if (node.specifiers.attributes.some(({ name }) => name === 'weak')) return node;
    const [context, ...rest] = step.parameters as [SParameter, ...SParameter[]];
    const { type } = context.specifiers;
    const name = context.declarator.name;
    if (type.kind !== 'record' || type.tag !== 'pt_regs' || name === null) return node;
    if (context.declarator.steps.length !== 1 || context.declarator.steps[0]!.kind !== 'pointer') return node;
    if (rest.length > MAX_ARGUMENTS) {
      this.error(
        'arguments',
        `a probe has at most ${MAX_ARGUMENTS} arguments behind its context`,
        rest[MAX_ARGUMENTS]!.declarator.loc,
      );
      return node;
    }
    const syscall = SYSCALL_PREFIXES.some((prefix) => node.declarator.name?.startsWith(prefix));
    const reads = rest.flatMap((parameter, i) => argumentVariable(parameter, name, i + 1, syscall));
    return {
      ...node,
      declarator: {
        ...node.declarator,
        steps: [{ ...step, parameters: [context] }, ...node.declarator.steps.slice(1)],
      },
      body: { ...node.body, body: [...reads, ...node.body.body] },
    };
  }

  // -------------------------------------------------------------------------------------------------------------
  // Records of tracepoints

  protected override lookupTag(name: string): RecordType | EnumType | undefined {
    const known = super.lookupTag(name);
    if (known !== undefined || !this.bcc || !name.startsWith(TRACEPOINT_TAG)) return known;
    const [category, ...rest] = name.slice(TRACEPOINT_TAG.length).split('__');
    const text = this.options.tracepointFormat?.(category!, rest.join('__'));
    if (text === undefined) return undefined;
    const record = this.tracepointRecord(name, parseTracepointFormat(text));
    this.scopes[0]!.tags!.set(name, record);
    return record;
  }

  private tracepointRecord(tag: string, list: readonly FormatField[]): RecordType {
    const record: RecordType = {
      kind: 'record',
      union: false,
      tag,
      id: this.nextId++,
      complete: true,
      defining: false,
      fields: [],
      size: 0,
      align: 8,
      flexible: false,
      attributes: {},
      typedefName: null,
      location: this.function?.decl.loc ?? 0,
      lookup: null,
    };
    this.records.push(record);
    for (const field of list) {
      record.fields.push(recordField(record, field));
      record.size = Math.max(record.size, field.offset + field.size);
    }
    record.size = Math.ceil(record.size / 8) * 8;
    return record;
  }
}

/** The struct that a program's first argument points to. */
function contextTag(decl: FunctionDecl): string | undefined {
  const first = decl.parameters[0];
  const pointer = first === undefined ? undefined : core(first.type);
  const record = pointer?.kind === 'pointer' ? core(pointer.pointee) : undefined;
  return record?.kind === 'record' ? (record.tag ?? undefined) : undefined;
}

function isSharing(text: string): text is 'public' | 'shared' | 'extern' {
  return text === 'public' || text === 'shared' || text === 'extern';
}

function sameSize(a: CType, b: CType): boolean {
  const record = core(a);
  if (record.kind === 'function' || (record.kind === 'record' && !record.complete)) return false;
  return sizeOf(a) === sizeOf(b);
}

function recordField(record: RecordType, field: FormatField): Field {
  const size = field.length === null ? field.size : field.size / field.length;
  const scalar: CType = field.pointer
    ? pointerTo(field.char ? qualify(CHAR, QUAL_CONST, 0) : VOID)
    : field.char && size === 1
      ? CHAR
      : integerOfSize([1, 2, 4, 8].includes(size) ? size : 1, field.signed);
  const type: CType =
    field.length === null
      ? scalar
      : { kind: 'array', element: scalar, length: field.length, variable: false };
  return {
    name: field.name,
    type,
    offset: 8 * field.offset,
    bitWidth: null,
    index: record.fields.length,
    record,
    packed: false,
    alignAttribute: 0,
    declTags: [],
    location: record.location,
  };
}

const UNUSED = (loc: Location): Attribute => ({ name: 'unused', args: [], loc });

/** `T name = (T) __bcc_parmN(ctx);` */
function argumentVariable(parameter: SParameter, context: string, index: number, syscall: boolean): SStmt[] {
  const { specifiers, declarator } = parameter;
  const { loc } = declarator;
  if (declarator.name === null) return [];
  // Arrays and functions as parameters are pointers.
  const steps = declarator.steps.map((step, i) =>
    i === 0 && step.kind === 'array'
      ? ({ kind: 'pointer', quals: step.quals, attributes: [], loc: step.loc } as const)
      : step,
  );
  const call: SExpr = {
    kind: 'call',
    callee: { kind: 'name', name: `__bcc_${syscall ? 'syscall_parm' : 'parm'}${index}`, loc, depth: 0 },
    args: [{ kind: 'name', name: context, loc, depth: 0 }],
    end: loc,
    loc,
    depth: 1,
  };
  const value: SExpr = {
    kind: 'cast',
    type: { kind: 'type-name', specifiers, declarator: { ...declarator, name: null, steps }, loc },
    operand: call,
    loc,
    depth: 2,
  };
  return [
    {
      kind: 'declaration',
      specifiers,
      declarators: [
        {
          declarator: { ...declarator, steps, attributes: [...declarator.attributes, UNUSED(loc)] },
          init: value,
        },
      ],
      loc,
    },
  ];
}
