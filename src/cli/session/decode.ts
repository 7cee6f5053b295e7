/** Records of ring and perf buffers as values: which struct a record is, and its members. */
import { type Btf, formatValue } from '../../btf/index.ts';
import type { BtfValue } from '../../libbpf/index.ts';
import { BpfError } from '../../util/errors.ts';

export interface DecodedRecord {
  /** The struct, where one is known. */
  readonly type: string | undefined;
  readonly value: BtfValue | undefined;
}

interface Candidate {
  readonly id: number;
  readonly name: string;
  readonly size: number;
}

/** Perf samples are padded so that size word and data together are a multiple of 8. */
const PERF_PADDING = 7;

export class RecordDecoder {
  readonly #btf: Btf | undefined;
  /** The struct that the user has named. */
  readonly #chosen: Candidate | undefined;
  /** Structs that pointer variables of the object refer to: how C programs put the types of their records into the BTF. */
  readonly #candidates: readonly Candidate[];

  constructor(btf: Btf | undefined, structName: string | undefined) {
    this.#btf = btf;
    this.#chosen = structName === undefined ? undefined : findStruct(btf, structName);
    this.#candidates = btf === undefined ? [] : pointedStructs(btf);
  }

  decode(bytes: Uint8Array, padded: boolean): DecodedRecord {
    const type = this.#chosen ?? this.#guess(bytes.length, padded ? PERF_PADDING : 0);
    if (type === undefined || this.#btf === undefined || bytes.length < type.size)
      return { type: undefined, value: undefined };
    return { type: type.name, value: formatValue(this.#btf, type.id, bytes) };
  }

  /** The largest struct that fits and leaves no more than the padding. */
  #guess(length: number, padding: number): Candidate | undefined {
    return this.#candidates.find(({ size }) => size <= length && length - size <= padding);
  }
}

function findStruct(btf: Btf | undefined, name: string): Candidate {
  const wanted = name.replace(/^struct\s+/, '');
  const id = btf?.find(wanted, 'struct') ?? btf?.find(wanted, 'typedef') ?? btf?.find(wanted, 'union');
  if (btf === undefined || id === undefined) {
    throw new BpfError('ENOENT', `the object's BTF has no struct '${wanted}'`, {
      hint: 'the compiler only keeps types that the program uses; a global pointer variable keeps one',
    });
  }
  return { id, name: wanted, size: btf.sizeOf(id) };
}

function pointedStructs(btf: Btf): Candidate[] {
  const found: Candidate[] = [];
  for (const [, type] of btf.types()) {
    if (type.kind !== 'var') continue;
    const pointer = btf.resolved(type.type);
    if (pointer.kind !== 'ptr') continue;
    const id = btf.resolve(pointer.type);
    const struct = btf.type(id);
    if (struct.kind === 'struct' && struct.size > 0)
      found.push({ id, name: btf.name(id), size: struct.size });
  }
  return found.sort((a, b) => b.size - a.size);
}
