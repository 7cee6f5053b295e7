/** The encoder: numbers of every length, and modules that the host takes. */
import { describe, expect, it } from 'vitest';
import { CodeWriter, ModuleBuilder, OP, readCode, TYPE } from '../../src/jit/wasm/index.ts';
import { U64_EDGES } from '../engines/support.ts';

function evaluate(
  write: (w: CodeWriter) => void,
  result: typeof TYPE.i32 | typeof TYPE.i64,
): number | bigint {
  const builder = new ModuleBuilder();
  const index = builder.addFunction({ params: [], results: [result] }, 'f');
  const w = new CodeWriter();
  write(w);
  builder.defineFunction(index, [], w.finish());
  builder.exportFunction('f', index);
  const { bytes } = builder.encode();
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>));
  return (exports.f as () => number | bigint)();
}

const printCode = (code: Uint8Array): string =>
  Array.from(readCode(code), ({ depth, operation, operands }) =>
    ['  '.repeat(depth) + operation, ...operands].join(' '),
  ).join('\n');

describe('constants', () => {
  const numbers = [...U64_EDGES];
  for (let bit = 0n; bit < 64n; bit++)
    numbers.push(1n << bit, (1n << bit) - 1n, BigInt.asUintN(64, -(1n << bit)));

  it('of 64 bits from halves', () => {
    for (const n of numbers) {
      const [low, high] = [Number(n & 0xffff_ffffn) | 0, Number(n >> 32n) | 0];
      expect(evaluate((w) => w.i64Halves(low, high), TYPE.i64)).toBe(BigInt.asIntN(64, n));
    }
  });

  it('of 32 bits, and sign-extended to 64', () => {
    for (const n of numbers) {
      const value = Number(BigInt.asIntN(32, n));
      expect(evaluate((w) => w.i32(value), TYPE.i32)).toBe(value);
      expect(evaluate((w) => w.i64(value), TYPE.i64)).toBe(BigInt(value));
    }
  });

  it('are printed as they are', () => {
    const w = new CodeWriter();
    w.i32(-5);
    w.i64Halves(-1, 0x7fff_ffff);
    w.brTable([1, 300], 0);
    w.memory(OP.i64Load, 70_000, 3);
    expect(printCode(w.finish())).toBe(
      'i32.const -5\ni64.const 0x7fffffffffffffff\nbr_table 1 300 0\ni64.load offset=70000 align=8',
    );
  });
});

it('a set and a get of one local become a tee, unless a scope begins or ends between them', () => {
  const w = new CodeWriter();
  w.block(OP.block, TYPE.empty);
  w.i32(1);
  w.set(0);
  w.get(0);
  w.set(1);
  w.op(OP.end);
  w.get(1);
  w.set(200);
  w.get(200);
  expect(
    printCode(w.finish())
      .split('\n')
      .map((line) => line.trim()),
  ).toEqual([
    'block',
    'i32.const 1',
    'local.tee 0',
    'local.set 1',
    'end',
    'local.get 1',
    'local.set 200',
    'local.get 200',
  ]);
});
