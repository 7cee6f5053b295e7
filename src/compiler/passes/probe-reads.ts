/**
 * BCC dialect: pointers of the kernel are followed by themselves. After inlining, where an address comes from is plain: what comes from
 * the frame, a global, a map's value, the context or a packet is read as it is; what was a number (a register of the probed function,
 * a pointer read from the kernel, `bpf_get_current_task`) can only be read by bpf_probe_read, and is. Only reads: programs cannot
 * write there. Programs whose pointers the verifier knows by their types (fentry, LSM, iterators) and those of packets are left
 * alone. The helper is the one that reads both user and kernel memory, as BCC's does on these architectures.
 */
import { helperById } from '../../spec/index.ts';
import { type CType, core, type FunctionDecl } from '../ast/index.ts';
import { type Block, constant, type Func, Inst, setArg, setArgs, type Value } from '../ir/index.ts';

const PROBE_READ = 4;
/** Largest copy out of the kernel. */
const MAX_COPY = 512;

/** Contexts of packets: pointers in them are known to the verifier. */
const PACKET_CONTEXTS: ReadonlySet<string> = new Set([
  ...['xdp_md', '__sk_buff', 'sk_msg_md', 'bpf_sock', 'bpf_sock_addr', 'bpf_sock_ops', 'bpf_sk_lookup'],
  ...['sk_reuseport_md', 'bpf_sockopt', 'bpf_flow_keys'],
]);
const TYPED_SECTION = /^(?:fentry|fexit|fmod_ret|lsm|iter|tp_btf|struct_ops)\b/;

function applies(func: Func): boolean {
  if (func.section !== undefined && TYPED_SECTION.test(func.section)) return false;
  const decl = func.decl as FunctionDecl | undefined;
  const first: CType | undefined = decl?.parameters[0]?.type;
  const pointer = first === undefined ? undefined : core(first);
  const record = pointer?.kind === 'pointer' ? core(pointer.pointee) : undefined;
  return record?.kind !== 'record' || record.tag === null || !PACKET_CONTEXTS.has(record.tag);
}

/** `null`: says nothing (null pointers). */
type Origin = 'own' | 'kernel' | null;

class Origins {
  private readonly known = new Map<Value, Origin>();

  of(value: Value): Origin {
    const known = this.known.get(value);
    if (known !== undefined) return known;
    // A cycle through a phi says nothing by itself.
    this.known.set(value, null);
    const origin = this.find(value);
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
      case 'ptradd':
        return this.of(inst.args[0]!);
      case 'inttoptr':
        return this.ofNumber(inst.args[0]!);
      case 'phi':
      case 'select':
        return this.any(inst.op === 'select' ? inst.args.slice(1) : inst.args);
      case 'call': {
        if (inst.callee?.kind !== 'helper') return 'own';
        return helperById(inst.callee.id)?.ret.kind === 'integer' ? 'kernel' : 'own';
      }
      case 'load':
        return this.ofLoaded(inst);
      default:
        return 'own';
    }
  }

  private ofNumber(value: Value): Origin {
    if (value.kind !== 'inst') return value.kind === 'const' ? null : 'own';
    if (value.op === 'ptrtoint') return this.of(value.args[0]!);
    if (value.op === 'phi' || value.op === 'select' || value.op === 'load' || value.op === 'call')
      return this.ofInst(value);
    // Arithmetic: an address of the program's own stays one.
    const parts = value.args.filter((arg) => arg.kind === 'inst');
    return parts.length > 0 && parts.every((arg) => this.ofNumber(arg) !== 'own') ? 'kernel' : 'own';
  }

  private any(values: readonly Value[]): Origin {
    let result: Origin = null;
    for (const value of values) {
      const origin = value.type === 'ptr' ? this.of(value) : this.ofNumber(value);
      if (origin === 'own') return 'own';
      if (origin === 'kernel') result = 'kernel';
    }
    return result;
  }

  /** A pointer that was in memory: a number, unless the program has put a pointer of its own into its frame. */
  private ofLoaded(load: Inst): Origin {
    let base = load.args[0]!;
    while (base.kind === 'inst' && base.op === 'ptradd') base = base.args[0]!;
    if (base.kind !== 'inst' || base.op !== 'alloca') return 'kernel';
    for (const user of storesTo(base)) if (this.of(user.args[1]!) === 'own') return 'own';
    return 'kernel';
  }
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
  if (!applies(func)) return false;
  const origins = new Origins();
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

function isRead(inst: Inst, origins: Origins): boolean {
  if (inst.op === 'load') return origins.of(inst.args[0]!) === 'kernel';
  if (inst.op !== 'memcpy' && inst.op !== 'memmove') return false;
  const size = inst.args[2]!;
  if (size.kind !== 'const' || size.value > BigInt(MAX_COPY)) return false;
  return origins.of(inst.args[1]!) === 'kernel' && origins.of(inst.args[0]!) === 'own';
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
