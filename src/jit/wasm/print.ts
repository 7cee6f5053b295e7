/**
 * Function bodies as instructions with their operands as WAT writes them. It reads the encoded bytes by the table of the
 * writer, so that it shows what the engine was given.
 */
import { OP, TYPE, typeText, wasmOp } from './opcodes.ts';

class Reader {
  at = 0;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.at++] ?? 0;
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return value >>> 0;
  }

  /** Signed LEB128 of up to 64 bits. */
  signed(): bigint {
    let value = 0n;
    let shift = 0n;
    for (;;) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      shift += 7n;
      if (byte < 0x80) return BigInt.asIntN(64, (byte & 0x40) !== 0 ? value | (-1n << shift) : value);
      if (shift > 70n) return value;
    }
  }
}

/** Small numbers in decimal, large ones in hexadecimal. */
function numberText(value: bigint): string {
  return value > -65536n && value < 65536n ? `${value}` : `0x${BigInt.asUintN(64, value).toString(16)}`;
}

export interface WasmInsn {
  /** Offset in the body, and bytes. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** Scopes around it. */
  readonly depth: number;
  readonly operation: string;
  readonly operands: readonly string[];
}

/** The instructions of a body in order. */
export function* readCode(
  code: Uint8Array,
  functionName: (index: number) => string = String,
): Generator<WasmInsn> {
  const reader = new Reader(code);
  let depth = 0;
  while (!reader.done) {
    const offset = reader.at;
    const first = reader.byte();
    let opcode = first >= 0xfd ? (first << 8) | reader.byte() : first;
    if (first === 0xfd && (opcode & 0x80) !== 0) opcode = (opcode << 8) | reader.byte();
    const row = wasmOp(opcode);
    if (opcode === OP.end || opcode === OP.else) depth = Math.max(0, depth - 1);
    const operands = immediates(reader, row?.imm, functionName);
    const operation = row?.text ?? `0x${opcode.toString(16)}`;
    yield { offset, bytes: code.subarray(offset, reader.at), depth, operation, operands };
    if (opcode === OP.block || opcode === OP.loop || opcode === OP.if || opcode === OP.else) depth++;
  }
}

function immediates(
  reader: Reader,
  kind: string | undefined,
  functionName: (index: number) => string,
): string[] {
  switch (kind) {
    case 'blocktype': {
      const type = reader.byte();
      return type === TYPE.empty ? [] : [`(result ${typeText(type)})`];
    }
    case 'label':
    case 'local':
    case 'global':
      return [`${reader.u32()}`];
    case 'labels': {
      const labels = [];
      for (let left = reader.u32() + 1; left > 0; left--) labels.push(`${reader.u32()}`);
      return labels;
    }
    case 'func':
      return [`$${functionName(reader.u32())}`];
    case 'indirect': {
      const type = reader.u32();
      return [`${reader.u32()}`, `(type ${type})`];
    }
    case 'mem': {
      const align = reader.u32();
      const offset = reader.u32();
      return [...(offset === 0 ? [] : [`offset=${offset}`]), ...(align === 0 ? [] : [`align=${1 << align}`])];
    }
    case 'lane':
      return [`${reader.byte()}`];
    case 'memory':
    case 'zero':
      reader.byte();
      return [];
    case 'i32':
    case 'i64':
      return [numberText(reader.signed())];
    default:
      return [];
  }
}
