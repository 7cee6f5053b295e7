/**
 * Objects of the kernel that events bring along as arguments: laid out as the kernel's own types say, in memory that is theirs while
 * the programs of the event run. Tasks are those of the process table.
 */
import { type Btf, type BtfInput, encodeValue } from '../btf/index.ts';
import type { KernelArg } from '../contracts/events.ts';
import type { KernelObjects } from '../contracts/hooks.ts';
import { type GuestMemory, kernelAddress } from '../memory/index.ts';
import { concatBytes, utf8 } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import type { ProcessTable } from './processes.ts';

const NUL = new Uint8Array(1);
/** Bytes of all objects of one event; what recordings invent must not fill the memory. */
const MAX_BYTES = 1 << 20;

export class EventObjects implements KernelObjects {
  readonly #memory: GuestMemory;
  readonly #processes: ProcessTable;
  readonly #types: () => Btf;
  #blocks: number[] = [];
  #bytes = 0;

  constructor(memory: GuestMemory, processes: ProcessTable, types: () => Btf) {
    this.#memory = memory;
    this.#processes = processes;
    this.#types = types;
  }

  place(arg: KernelArg): bigint {
    if (typeof arg === 'bigint') return BigInt.asUintN(64, arg);
    if (arg.kind === 'task') return addressOf(this.#processes.mention(arg.process).taskStruct);
    const types = this.#types();
    const id = types.find(arg.struct, 'struct');
    if (id === undefined) {
      throw new BpfError('ENOENT', `the kernel's types have no struct ${arg.struct}`, {
        hint: 'give the kernel the BTF of a Linux that has it',
      });
    }
    return this.#struct(types, id, arg.members);
  }

  placeKnown(arg: KernelArg): bigint {
    const missing =
      typeof arg === 'object' &&
      arg.kind === 'object' &&
      this.#types().find(arg.struct, 'struct') === undefined;
    return missing ? 0n : this.place(arg);
  }

  parameters(symbol: string): number | undefined {
    const types = this.#types();
    const id = types.find(symbol, 'func');
    const func = id === undefined ? undefined : types.type(id);
    const proto = func?.kind === 'func' ? types.resolved(func.type) : undefined;
    return proto?.kind === 'func_proto' ? proto.params.length : undefined;
  }

  release(): void {
    if (this.#blocks.length === 0) return;
    for (const block of this.#blocks) this.#memory.free(block);
    this.#blocks = [];
    this.#bytes = 0;
  }

  #struct(types: Btf, id: number, members: BtfInput): bigint {
    return this.#store(
      encodeValue(types, id, members, (target, value, path) => {
        if (typeof value === 'string') return this.#store(concatBytes([utf8(value), NUL]));
        if (value instanceof Uint8Array) return this.#store(value);
        if (types.resolved(target).kind === 'struct') return this.#struct(types, target, value);
        throw new BpfError('EINVAL', `${path} takes an address, a text or bytes`);
      }),
    );
  }

  #store(bytes: Uint8Array): bigint {
    if (this.#bytes + bytes.length > MAX_BYTES)
      throw new BpfError('E2BIG', `the objects of one event have at most ${MAX_BYTES} bytes`);
    this.#bytes += bytes.length;
    const at = this.#memory.allocate(Math.max(1, bytes.length), 'object of an event');
    this.#memory.write(at, bytes);
    this.#blocks.push(at);
    return kernelAddress(at);
  }
}

const addressOf = (offset: number): bigint => (offset === 0 ? 0n : kernelAddress(offset));
