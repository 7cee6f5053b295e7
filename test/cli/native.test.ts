/** Text of disassemblers as data: GNU objdump, and what V8 prints of the code it makes. */
import { describe, expect, it } from 'vitest';
import { parseEngineCode, parseObjdump } from '../../src/cli/native.ts';

describe('machine code', () => {
  it('of objdump', () => {
    const text = `
/tmp/code:     file format binary

Disassembly of section .data:

ffffffffc0025ba0 <.data>:
ffffffffc0025ba0:\t0f 1f 44 00 00       \tnopl   0x0(%rax,%rax,1)
ffffffffc0025ba5:\tc3                   \tret
ffffffffc0025ba6:\t48 8b 04 25 10 00 00 00 \tmov    0x10,%rax
`;
    expect(parseObjdump(text, 0xffff_ffff_c002_5ba0n)).toEqual([
      { pc: 0, bytes: Uint8Array.of(15, 31, 68, 0, 0), operation: 'nopl', operands: ['0x0(%rax,%rax,1)'] },
      { pc: 5, bytes: Uint8Array.of(0xc3), operation: 'ret', operands: [] },
      {
        pc: 6,
        bytes: Uint8Array.of(0x48, 0x8b, 4, 0x25, 0x10, 0, 0, 0),
        operation: 'mov',
        operands: ['0x10', '%rax'],
      },
    ]);
    expect(parseObjdump('objdump: nothing', 0n)).toEqual([]);
  });

  it('of V8, with places in the WebAssembly', () => {
    const text = `--- WebAssembly code ---
name: main
index: 2
kind: wasm function
compiler: TurboFan
Body (size = 192 = 132 + 60 padding)
Instructions (size = 120)
0x3cbf42d2700     0  55                   push rbp
0x3cbf42d2701     1  4889e5               REX.W movq rbp,rsp
0x3cbf42d2712    12  0f863e000000         jna 0x3cbf42d2756  <+0x56>

Source positions:
 pc offset  position
         1        34
        12         0

Safepoints (entries = 1, byte size = 10)
0x3cbf42d2740     40  slots (sp->fp): 00000000
--- End code ---
--- WebAssembly code ---
name: wrapper
kind: wasm-to-js wrapper
Instructions (size = 1)
0x3cbf42d2700     0  55                   push rbp
--- End code ---
`;
    const functions = parseEngineCode(text);
    expect([...functions.keys()]).toEqual(['main']);
    expect(functions.get('main')).toEqual([
      { pc: 0, bytes: Uint8Array.of(0x55), operation: 'push', operands: ['rbp'] },
      {
        pc: 1,
        bytes: Uint8Array.of(0x48, 0x89, 0xe5),
        operation: 'movq',
        operands: ['rbp', 'rsp'],
        wasmOffset: 34,
      },
      {
        pc: 0x12,
        bytes: Uint8Array.of(0x0f, 0x86, 0x3e, 0, 0, 0),
        operation: 'jna',
        operands: ['0x3cbf42d2756 <+0x56>'],
      },
    ]);
    expect(parseEngineCode('').size).toBe(0);
  });
});
