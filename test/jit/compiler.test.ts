/** Programs whose WebAssembly is compiled by another function than the host's own constructor. */
import { cachedDataVersionTag } from 'node:v8';
import { describe, expect, it } from 'vitest';
import * as asm from '../../src/asm/construct.ts';
import { smallAtOnce } from '../../src/host/v8-compiler.ts';
import { CodeCache, createJit } from '../../src/jit/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { compareWithReference } from '../engines/differential.ts';
import { createTestEnvironment } from '../engines/environment.ts';
import { Bench } from '../engines/support.ts';
import { load, returns, run } from '../kernel/subject.ts';

const { R0 } = asm;

describe('the compiler of modules', () => {
  it('is told how long a program is, once for each code', () => {
    const asked: number[] = [];
    const compile = (bytes: Uint8Array<ArrayBuffer>, insns: number) => {
      asked.push(insns);
      return new WebAssembly.Module(bytes);
    };
    const bench = new Bench(createJit({ compile, cache: new CodeCache() }), createTestEnvironment());
    const insns = [asm.mov64Imm(R0, 5), asm.alu64Imm('add', R0, 4), asm.exit()];
    expect([bench.run(insns), bench.run(insns)]).toEqual([9n, 9n]);
    expect(asked).toEqual([3]);
  });

  it('may refuse: the kernel interprets', () => {
    const compileModule = () => {
      throw new RangeError('no room');
    };
    const kernel = new EmbeddedKernel({ compileModule });
    const progFd = load(kernel, returns(77));
    expect(run(kernel, progFd)).toBe(77);
    expect(kernel.objGetInfoByFd({ bpfFd: progFd })).toMatchObject({ jited: false });
  });

  it('of Node leaves the flags of V8 as they were', () => {
    const compile = smallAtOnce(1000);
    if (compile === undefined) {
      console.log('skipped: the compilers of this process cannot be chosen');
      return;
    }
    const before = cachedDataVersionTag();
    compile(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), 1);
    expect(cachedDataVersionTag()).toBe(before);
  });

  it("of Node: V8's optimising compiler at once gives the same results", () => {
    const compile = smallAtOnce(1000);
    if (compile === undefined) {
      console.log('skipped: the compilers of this process cannot be chosen');
      return;
    }
    compareWithReference(createJit({ compile, cache: new CodeCache() }), 20_000, 100);
  });
});
