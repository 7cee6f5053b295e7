/**
 * BCC dialect: pointers of the kernel are followed by themselves. After inlining, where an address comes from is plain: what comes from
 * the frame, a global, a map's value, the context or a packet is read as it is; what was a number (a register of the probed function,
 * a pointer read from the kernel, `bpf_get_current_task`) can only be read by bpf_probe_read, and is. Only reads: programs cannot
 * write there. The helper is the one that reads both user and kernel memory, as BCC's does on these architectures.
 *
 * Where the verifier knows pointers by their types (fentry, LSM, iterators), arguments and members that point to records are read as they
 * are, at constant places behind where they point: it knows those. It does not know pointers to anything else, places before
 * or by an index, what was a number or came back out of memory; and it takes no copy across members. Those are probe reads there, too.
 * Programs on packets are left alone.
 */
import { helperById } from '../../spec/index.ts';
import { type CType, core, type FunctionDecl } from '../ast/index.ts';
import { type Block, constant, FLAG, type Func, Inst, setArg, setArgs, type Value } from '../ir/index.ts';

const PROBE_READ = 4;
/** Largest copy out of the kernel. */
const MAX_COPY = 512;

/** Contexts of packets: pointers in them are known to the verifier. */
const PACKET_CONTEXTS: ReadonlySet<string> = new Set([
  ...['xdp_md', '__sk_buff', 'sk_msg_md', 'bpf_sock', 'bpf_sock_addr', 'bpf_sock_ops', 'bpf_sk_lookup'],
  ...['sk_reuseport_md', 'bpf_sockopt', 'bpf_flow_keys'],
]);
const TYPED_SECTION = /^(?:fentry|fexit|fmod_ret|lsm|iter|tp_btf|struct_ops)\b/;

function isOfPackets(func: Func): boolean {
  const decl = func.decl as FunctionDecl | undefined;
  const first: CType | undefined = decl?.parameters[0]?.type;
  const pointer = first === undefined ? undefined : core(first);
  const record = pointer?.kind === 'pointer' ? core(pointer.pointee) : undefined;
  return record?.kind === 'record' && record.tag !== null && PACKET_CONTEXTS.has(record.tag);
}

/** `typed`: the verifier knows the record. `null`: says nothing (null pointers). */
type Origin = 'own' | 'kernel' | 'typed' | null;
/** Of values that may be one or the other, the later in this order decides. */
const ORDER: readonly Origin[] = [null, 'typed', 'kernel', 'own'];

class Origins {
  /** The verifier knows pointers by their types. */
  private readonly isTyped: boolean;
  private readonly context: Value | undefined;
  private known = new Map<Value, Origin>();
  /** What phis in cycles are taken for, from nothing upwards. */
  private readonly assumed = new Map<Value, Origin>();
  private stale = false;

  constructor(func: Func) {
    this.isTyped = func.section !== undefined && TYPED_SECTION.test(func.section);
    this.context = func.section === undefined ? undefined : func.params[0];
  }

  of(value: Value): Origin {
    for (;;) {
      this.stale = false;
      const origin = this.visit(value);
      if (!this.stale) return origin;
      this.known = new Map();
    }
  }

  private visit(value: Value): Origin {
    const known = this.known.get(value);
    if (known !== undefined) return known;
    const before = this.assumed.get(value) ?? null;
    this.known.set(value, before);
    let origin = this.find(value);
    if (value.kind === 'inst' && value.op === 'phi' && origin !== before) {
      origin = highest([origin, before]);
      if (origin !== before) {
        this.assumed.set(value, origin);
        this.stale = true;
      }
    }
    this.known.set(value, origin);
    return origin;
  }

  private find(value: Value): Origin {
    switch (value.kind) {
      case 'const':
      case 'undef':
        return null;
      case 'inst':
        return this.ofInst(value);
      default:
        return 'own';
    }
  }

  private ofInst(inst: Inst): Origin {
    switch (inst.op) {
      case 'alloca':
        return 'own';
      case 'ptradd': {
        const origin = this.visit(inst.args[0]!);
        return origin === 'typed' && !isForward(inst.args[1]!) ? 'kernel' : origin;
      }
      case 'inttoptr':
        return this.ofPointerCast(inst);
      case 'phi':
      case 'select':
        return this.any(inst.op === 'select' ? inst.args.slice(1) : inst.args);
      case 'call': {
        if (inst.callee?.kind !== 'helper') return 'own';
        const kind = helperById(inst.callee.id)?.ret.kind;
        if (kind === 'integer') return 'kernel';
        return this.isTyped && kind === 'btf_id' ? 'typed' : 'own';
      }
      case 'load':
        return this.ofLoaded(inst);
      default:
        return 'own';
    }
  }

  /** Arguments lie in the context as numbers. */
  private ofPointerCast(inst: Inst): Origin {
    const value = inst.args[0]!;
    if (this.isTyped && inst.has(FLAG.RECORD) && value.kind === 'inst' && value.op === 'load')
      if (baseOf(value.args[0]!) === this.context) return 'typed';
    return this.ofNumber(value);
  }

  private ofNumber(value: Value): Origin {
    if (value.kind !== 'inst') return value.kind === 'const' ? null : 'own';
    if (value.op === 'ptrtoint') return this.visit(value.args[0]!);
    if (value.op === 'phi' || value.op === 'select' || value.op === 'load' || value.op === 'call')
      return this.visit(value);
    // Arithmetic: an address of the program's own stays one.
    const parts = value.args.filter((arg) => arg.kind === 'inst');
    return parts.length > 0 && parts.every((arg) => this.ofNumber(arg) !== 'own') ? 'kernel' : 'own';
  }

  private any(values: readonly Value[]): Origin {
    return highest(values.map((value) => (value.type === 'ptr' ? this.visit(value) : this.ofNumber(value))));
  }

  /** A pointer that was in memory: a number, unless the program has put a pointer of its own into its frame, or its type is known. */
  private ofLoaded(load: Inst): Origin {
    const base = baseOf(load.args[0]!);
    if (base.kind === 'inst' && base.op === 'alloca')
      return highest(['kernel', ...storesTo(base).map((user) => this.ownOnly(user.args[1]!))]);
    if (!this.isTyped || !load.has(FLAG.RECORD)) return 'kernel';
    if (base === this.context) return 'typed';
    const place = this.visit(load.args[0]!);
    return place === 'typed' || place === null ? 'typed' : 'kernel';
  }

  private ownOnly(value: Value): Origin {
    return this.visit(value) === 'own' ? 'own' : null;
  }
}

function highest(origins: readonly Origin[]): Origin {
  return ORDER[Math.max(0, ...origins.map((origin) => ORDER.indexOf(origin)))]!;
}

/** Places that the verifier looks up in a record: constant, also where the loader puts the constant in, not before it. */
const isForward = (offset: Value): boolean =>
  offset.kind === 'const'
    ? BigInt.asIntN(64, offset.value) >= 0n
    : offset.kind === 'inst' && offset.op === 'core';

function baseOf(address: Value): Value {
  let base = address;
  while (base.kind === 'inst' && base.op === 'ptradd') base = base.args[0]!;
  return base;
}

/** Stores of pointers into a variable, wherever in it. */
function storesTo(home: Inst): Inst[] {
  const stores: Inst[] = [];
  const work: Inst[] = [home];
  while (work.length > 0) {
    const at = work.pop()!;
    for (const user of at.users) {
      if (user.op === 'ptradd' && user.args[0] === at) work.push(user);
      else if (user.op === 'store' && user.args[0] === at && user.args[1]!.type === 'ptr') stores.push(user);
    }
  }
  return stores;
}

/** Puts probe reads where they are needed; true where it did. */
export function insertProbeReads(func: Func): boolean {
  if (isOfPackets(func)) return false;
  let origins = new Origins(func);
  const hidden = func.blocks.flatMap((block) => block.insts.filter((inst) => isComputed(inst, origins)));
  for (const inst of hidden) hideType(func, inst);
  if (hidden.length > 0) origins = new Origins(func);
  const found = func.blocks.flatMap((block) => block.insts.filter((inst) => isRead(inst, origins)));
  if (found.length === 0) return false;
  let home: Inst | undefined;
  for (const inst of found) {
    const block = inst.block!;
    if (inst.op !== 'load') {
      // The copy becomes the read.
      const [to, from, size] = inst.args as [Value, Value, Value];
      block.insts[block.insts.indexOf(inst)] = probeRead(block, inst, to, size, from);
      setArgs(inst, []);
      inst.block = undefined;
      continue;
    }
    home ??= newHome(func);
    const bytes = constant('i64', BigInt(inst.mem === 'ptr' ? 8 : Number(inst.mem.slice(1)) / 8));
    block.insts.splice(block.insts.indexOf(inst), 0, probeRead(block, inst, home, bytes, inst.args[0]!));
    setArg(inst, 0, home);
    inst.alias = undefined;
  }
  return true;
}

/** A place in a record that is found while the program runs. */
function isComputed(inst: Inst, origins: Origins): boolean {
  if (inst.op !== 'ptradd' || origins.of(inst.args[0]!) !== 'typed') return false;
  const offset = inst.args[1]!;
  return offset.kind !== 'const' && !isForward(offset);
}

/**
 * The verifier adds to pointers that it knows only what it knows the bounds of. A copy of the pointer that bpf_probe_read made is a number
 * to it, with which programs may do what they like.
 */
function hideType(func: Func, inst: Inst): void {
  const block = inst.block!;
  const [known, copy] = [newHome(func), newHome(func)];
  const put = new Inst('store', 'void', [known, inst.args[0]!]);
  const get = new Inst('load', 'ptr', [copy]);
  put.mem = 'ptr';
  get.mem = 'ptr';
  const made = [put, probeRead(block, inst, copy, constant('i64', 8n), known), get];
  for (const one of made) {
    one.block = block;
    one.loc = inst.loc;
  }
  block.insts.splice(block.insts.indexOf(inst), 0, ...made);
  setArg(inst, 0, get);
}

function isRead(inst: Inst, origins: Origins): boolean {
  if (inst.op === 'load') return origins.of(inst.args[0]!) === 'kernel';
  if (inst.op !== 'memcpy' && inst.op !== 'memmove') return false;
  const size = inst.args[2]!;
  if (size.kind !== 'const' || size.value > BigInt(MAX_COPY)) return false;
  const from = origins.of(inst.args[1]!);
  return (from === 'kernel' || from === 'typed') && origins.of(inst.args[0]!) === 'own';
}

function probeRead(block: Block, like: Inst, to: Value, size: Value, from: Value): Inst {
  const call = new Inst('call', 'i64', [
    to,
    size.type === 'i64' ? size : constant('i64', constValue(size)),
    from,
  ]);
  call.callee = { kind: 'helper', id: PROBE_READ };
  call.block = block;
  call.loc = like.loc;
  return call;
}

const constValue = (value: Value): bigint => (value.kind === 'const' ? value.value : 0n);

/** One word for all of them: each is read again at once. */
function newHome(func: Func): Inst {
  const home = new Inst('alloca', 'ptr', []);
  home.size = 8;
  home.align = 8;
  home.name = 'probe';
  home.block = func.entry;
  func.entry.insts.unshift(home);
  return home;
}
