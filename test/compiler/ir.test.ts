/** The IR by itself: its verifier finds what is wrong, its text shows what is there. */
import { describe, expect, it } from 'vitest';
import { Builder, constant, Func, Inst, printFunc, verifyFunc } from '../../src/compiler/ir/index.ts';

function sample(): { func: Func; builder: Builder } {
  const func = new Func('sample');
  func.returnType = 'i32';
  func.params = [{ kind: 'param', type: 'i32', index: 0, name: 'n', users: new Set() }];
  return { func, builder: new Builder(func) };
}

describe('IR', () => {
  it('prints one line an instruction', () => {
    const { func, builder } = sample();
    const sum = builder.binary('add', func.params[0]!, constant('i32', -1n));
    builder.ret(sum);
    expect(printFunc(func)).toBe(
      '\ndefine global i32 @sample(i32 %n) {\nentry.0:\n  %0 = add i32 %n, i32 -1\n  ret %0\n}',
    );
    verifyFunc(func, 'test');
  });

  it('a block without an end, mixed types, and use before definition are found', () => {
    const open = sample();
    open.builder.binary('add', open.func.params[0]!, constant('i32', 1n));
    expect(() => verifyFunc(open.func, 'test')).toThrow(/has no terminator/);
    const mixed = sample();
    mixed.builder.ret(mixed.builder.binary('add', mixed.func.params[0]!, constant('i64', 1n)));
    expect(() => verifyFunc(mixed.func, 'test')).toThrow(/operands of other types/);
    const early = sample();
    const late = new Inst('add', 'i32', [early.func.params[0]!, constant('i32', 1n)]);
    const use = early.builder.binary('add', late, constant('i32', 1n));
    early.builder.add(late);
    early.builder.ret(use);
    expect(() => verifyFunc(early.func, 'test')).toThrow(/not defined before its use/);
  });

  it('a phi needs each block before it', () => {
    const { func, builder } = sample();
    const [yes, end] = [builder.newBlock('yes'), builder.newBlock('end')];
    builder.condbr(builder.icmp('eq', func.params[0]!, constant('i32', 0n)), yes, end);
    builder.start(yes);
    builder.br(end);
    builder.start(end);
    builder.ret(builder.phi('i32', [[constant('i32', 1n), yes]]));
    expect(() => verifyFunc(func, 'test')).toThrow(/phi/);
  });
});
