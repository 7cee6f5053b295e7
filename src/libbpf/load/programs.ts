/** PROG_LOAD for one program: its instructions made for this kernel, what it attaches to, and what its refusal means. */
import { encodeProgram, PSEUDO } from '../../asm/index.ts';
import type { Fd, ProgLoadAttr } from '../../contracts/kernel.ts';
import type { Insn } from '../../contracts.ts';
import { type ProgramSpec, resolveCore } from '../../object/index.ts';
import { attachTypeByName, progTypeByName } from '../../spec/index.ts';
import { BPF_MACROS } from '../../uapi/index.ts';
import { BpfError, InternalError, VerifierError } from '../../util/errors.ts';
import { sectionAttachType } from '../attach/support.ts';
import type { BpfProgram } from '../program.ts';
import { programFunction } from '../symbols/program-functions.ts';
import { type LoadContext, objectName } from './context.ts';
import { type KsymRelocation, resolveKsym } from './externs.ts';
import type { MadeMap } from './maps.ts';
import { useOlderHelpers } from './older-kernels.ts';
import { explainPoison, POISON_KFUNC, POISON_MAP, type PoisonNote, poisonCall } from './poison.ts';
import type { StructOpsFunction } from './struct-ops.ts';

/** As often as libbpf: the verifier gives up where a signal comes in between. */
const MAX_AGAIN = 5;
const MAX_OFF = 32_767;

/** What a program may refer to. */
export interface Surroundings {
  /** By index in the object; holes are maps that are not made. */
  readonly maps: readonly (MadeMap | undefined)[];
  /** The slot that a struct_ops program fills. */
  readonly structOps: StructOpsFunction | undefined;
}

export function loadProgram(context: LoadContext, program: BpfProgram, around: Surroundings): Fd {
  const { kernel } = context;
  const steps = loadSteps(context, program, around);
  let step = steps.next();
  while (!step.done) {
    let fd: Fd;
    try {
      fd = kernel.progLoad(step.value);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(fd);
  }
  return step.value;
}

/** As `loadProgram`; the kernel may let the caller go on meanwhile. */
export async function loadProgramAsync(
  context: LoadContext,
  program: BpfProgram,
  around: Surroundings,
  options: { readonly signal?: AbortSignal },
): Promise<Fd> {
  const { kernel } = context;
  const steps = loadSteps(context, program, around);
  let step = steps.next();
  while (!step.done) {
    let fd: Fd;
    try {
      fd = await kernel.progLoadAsync(step.value, options);
    } catch (error) {
      step = steps.throw(error);
      continue;
    }
    step = steps.next(fd);
  }
  return step.value;
}

/** Yields what PROG_LOAD is to be called with, and is told what came of it. */
type LoadSteps = Generator<ProgLoadAttr, Fd, Fd>;

function* loadSteps(context: LoadContext, program: BpfProgram, around: Surroundings): LoadSteps {
  const { kernel, spec: object, options } = context;
  const { spec } = program;
  const ready = new Relocation(context, program, around).run();
  const attachTypeName = sectionAttachType(kernel, spec);
  const attachType = attachTypeName === undefined ? undefined : attachTypeByName(attachTypeName);
  const typed = context.btfFd !== undefined && spec.funcInfoRecords.length > 0;
  const attr: ProgLoadAttr = {
    progType: progType(context, spec),
    insns: encodeProgram(ready.insns),
    license: object.license,
    kernVersion: object.version,
    progName: objectName(spec.name),
    logLevel: options.logLevel ?? 0,
    progFlags:
      (spec.sleepable ? BPF_MACROS.BPF_F_SLEEPABLE : 0) |
      (spec.sectionRow?.xdpFrags ? BPF_MACROS.BPF_F_XDP_HAS_FRAGS : 0),
    expectedAttachType: attachType?.id ?? 0,
    ...attachTarget(context, program, around.structOps),
    ...(ready.fdArray.length === 0 ? {} : { fdArray: ready.fdArray }),
    onLog: (log) => {
      program.log = log;
    },
    ...(typed
      ? { progBtfFd: context.btfFd, funcInfo: spec.funcInfoRecords, lineInfo: spec.lineInfoRecords }
      : {}),
  };
  try {
    return yield* again(attr);
  } catch (error) {
    // Kernels before 4.17 know no attach type; where it only says more than the type does, it may be left out.
    const optional = spec.sectionRow?.attachTypeOptional === true && attachType !== undefined;
    if (optional && isShapeRefusal(error)) return yield* again({ ...attr, expectedAttachType: 0 });
    return yield* withLog(attr, error, (refusal) => {
      const explained = explainPoison(refusal, ready.notes);
      if (explained instanceof VerifierError) program.log = explained.log;
      return explained;
    });
  }
}

/** What was refused without a log is loaded once more to get one, as libbpf does. */
function* withLog(attr: ProgLoadAttr, first: unknown, explain: (error: unknown) => unknown): LoadSteps {
  const silent = first instanceof VerifierError && first.log === '' && attr.logLevel === 0;
  if (!silent) throw explain(first);
  try {
    return yield* again({ ...attr, logLevel: 1 });
  } catch (error) {
    throw explain(error);
  }
}

function* again(attr: ProgLoadAttr): LoadSteps {
  for (let tries = 1; ; tries++) {
    try {
      return yield attr;
    } catch (error) {
      if (!(error instanceof BpfError) || error.code !== 'EAGAIN' || tries === MAX_AGAIN) throw error;
    }
  }
}

/** The command was refused as such; the verifier has not looked at the program. */
const isShapeRefusal = (error: unknown): boolean =>
  error instanceof BpfError &&
  !(error instanceof VerifierError) &&
  (error.code === 'EINVAL' || error.code === 'E2BIG');

function progType(context: LoadContext, spec: ProgramSpec): number {
  const name = spec.progType ?? context.options.defaultProgType;
  const type = name === undefined ? undefined : progTypeByName(name);
  if (type !== undefined) return type.id;
  throw new BpfError(
    'EINVAL',
    `program '${spec.name}': section '${spec.section}' does not say a program type`,
    { hint: 'use a section name that libbpf knows, or give a type' },
  );
}

/** BTF id of what a program attaches to (libbpf: libbpf_find_attach_btf_id). */
function attachTarget(
  context: LoadContext,
  { spec, attachTarget: given }: BpfProgram,
  structOps: StructOpsFunction | undefined,
): Partial<ProgLoadAttr> {
  if (structOps !== undefined) {
    const { attachBtfId, attachBtfObjFd, member } = structOps;
    return {
      attachBtfId,
      expectedAttachType: member,
      ...(attachBtfObjFd === undefined ? {} : { attachBtfObjFd }),
    };
  }
  if (!spec.sectionRow?.attachBtf) return {};
  const name = given?.name ?? spec.attachTo;
  if (name === undefined || name === '') {
    throw new BpfError(
      'EINVAL',
      `program '${spec.name}': section '${spec.section}' does not say its target`,
      { hint: `write it behind a slash: SEC("${spec.section}/NAME")` },
    );
  }
  if (given?.program !== undefined) {
    const attachProgFd = given.program.fd;
    return { attachProgFd, attachBtfId: programFunction(context.kernel, attachProgFd, name) };
  }
  if (spec.attachType === undefined) {
    throw new BpfError(
      'EINVAL',
      `program '${spec.name}' replaces a function of a program that is not given`,
      {
        hint: `say which before load: attachTarget = { program, name: '${name}' }`,
      },
    );
  }
  const { prefix, kind } = attachTypeByName(spec.attachType)!.target;
  const found = context.types.find(prefix + name, kind);
  if (found !== undefined)
    return {
      attachBtfId: found.id,
      ...(found.module === undefined ? {} : { attachBtfObjFd: found.module.fd }),
    };
  throw new BpfError(
    'ESRCH',
    `program '${spec.name}' attaches to '${name}', which is not in the kernel's BTF (${kind} ${prefix}${name})`,
  );
}

/** Makes a program's instructions ready for one kernel. */
class Relocation {
  readonly #context: LoadContext;
  readonly #program: BpfProgram;
  readonly #around: Surroundings;
  readonly #notes = new Map<number, PoisonNote>();
  /** Descriptors that calls name by index: the first is no module's. */
  readonly #fdArray: Fd[] = [];
  #insns: Insn[] = [];

  constructor(context: LoadContext, program: BpfProgram, around: Surroundings) {
    this.#context = context;
    this.#program = program;
    this.#around = around;
  }

  run(): {
    readonly insns: readonly Insn[];
    readonly fdArray: readonly Fd[];
    readonly notes: ReadonlyMap<number, PoisonNote>;
  } {
    const { spec } = this.#program;
    this.#resolveCore();
    for (const relocation of spec.relocations) {
      switch (relocation.kind) {
        case 'map':
          this.#map(relocation.insn, relocation.map, PSEUDO.MAP_FD);
          break;
        case 'map_value':
          this.#map(relocation.insn, relocation.map, PSEUDO.MAP_VALUE);
          break;
        case 'ksym':
        case 'kfunc':
        case 'kfunc_address':
          this.#ksym(relocation);
          break;
        default:
          throw new InternalError(`relocation ${(relocation as { kind: string }).kind}`);
      }
    }
    useOlderHelpers(this.#context.kernel, this.#insns);
    return { insns: this.#insns, fdArray: this.#fdArray, notes: this.#notes };
  }

  #resolveCore(): void {
    const { spec } = this.#program;
    const { kernel, types, spec: object } = this.#context;
    const target = spec.coreRelocations.length === 0 ? undefined : types.target;
    const result = resolveCore(object, spec, target, types.coreModules);
    this.#insns = result.insns.map((insn) => ({ ...insn }));
    this.#program.unresolved = result.unresolved;
    for (const { insn, description } of result.unresolved) {
      const note = {
        title: '<invalid CO-RE relocation>',
        reason: `failed to resolve CO-RE relocation ${description}`,
        hint: `the kernel does not have it: ask bpf_core_field_exists and the like before${kernel.simulator === null ? '' : ', or give the embedded kernel the types of a Linux (--btf, kernelBtf)'}`,
      };
      this.#notes.set(insn, note).set(insn + 1, note);
    }
  }

  #map(at: number, index: number, pseudo: number): void {
    const made = this.#around.maps[index];
    if (made !== undefined) {
      this.#insns[at].src = pseudo;
      this.#insns[at].imm = made.map.fd;
      return;
    }
    const { name } = this.#context.spec.maps[index];
    this.#poison(at, 2, POISON_MAP + index, {
      title: '<invalid BPF map reference>',
      reason: `BPF map '${name}' is referenced but wasn't created`,
      hint: 'its autocreate is off: switch it on, or do not reach the code that uses it',
    });
  }

  #ksym(relocation: KsymRelocation): void {
    const at = relocation.insn;
    const insn = this.#insns[at];
    const found = resolveKsym(this.#context, this.#program.name, relocation);
    if (relocation.kind === 'kfunc') {
      if (found === null) this.#unknownKfunc(relocation);
      else if (found.by === 'btf') {
        insn.imm = found.id;
        insn.off = found.objFd === 0 ? 0 : this.#moduleIndex(found.objFd);
      }
      return;
    }
    const second = this.#insns[at + 1];
    if (found?.by === 'btf') {
      insn.src = PSEUDO.BTF_ID;
      insn.imm = found.id;
      second.imm = found.objFd;
      return;
    }
    const address = found === null ? 0n : found.address;
    insn.src = PSEUDO.NONE;
    insn.imm = Number(BigInt.asIntN(32, address));
    second.imm = Number(BigInt.asIntN(32, address >> 32n));
  }

  #unknownKfunc({ insn, symbol, typeId }: KsymRelocation): void {
    this.#poison(insn, 1, POISON_KFUNC + typeId, {
      title: '<invalid kfunc call>',
      reason: `kfunc '${symbol}' is referenced but wasn't resolved`,
      hint: `this kernel does not have it: ask bpf_ksym_exists(${symbol}) before`,
    });
  }

  #poison(at: number, slots: number, helper: number, note: PoisonNote): void {
    for (let i = at; i < at + slots; i++) {
      this.#insns[i] = poisonCall(helper);
      this.#notes.set(i, note);
    }
  }

  #moduleIndex(fd: Fd): number {
    if (this.#fdArray.length === 0) this.#fdArray.push(0);
    let index = this.#fdArray.indexOf(fd, 1);
    if (index < 0) index = this.#fdArray.push(fd) - 1;
    if (index > MAX_OFF) throw new BpfError('E2BIG', `program '${this.#program.name}' uses too many modules`);
    return index;
  }
}
