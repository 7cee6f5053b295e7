/** `progLoadAsync` of the `Kernel` contract: what `progLoad` does, later or at once. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeProgram } from '../../src/asm/index.ts';
import { BpfError } from '../../src/util/index.ts';
import {
  code,
  load,
  makeMap,
  type OpenSubject,
  ProgramBuilder,
  progType,
  R0,
  R2,
  reg,
  returns,
  run,
  type Subject,
  uses,
} from './subject.ts';

export function loadContract(open: OpenSubject): void {
  let subject: Subject;
  beforeEach(() => {
    subject = open();
  });
  afterEach(() => subject.done());

  const attr = (program: ProgramBuilder) => ({
    progType: progType('socket_filter'),
    insns: encodeProgram(program.build()),
    license: 'GPL',
  });
  const later = async (promise: Promise<unknown>): Promise<string> => {
    try {
      await promise;
      return 'ok';
    } catch (error) {
      expect(error).toBeInstanceOf(BpfError);
      return (error as BpfError).code;
    }
  };

  describe('loads that need not be waited for', () => {
    it('give a program that runs', async () => {
      const { kernel } = subject;
      const [first, second] = await Promise.all([41, 42].map((n) => kernel.progLoadAsync(attr(returns(n)))));
      expect([run(kernel, first!), run(kernel, second!)]).toEqual([41, 42]);
      kernel.close(first!);
      kernel.close(second!);
    });

    it('hold what they use', async () => {
      const { kernel } = subject;
      const map = makeMap(kernel, 'array');
      const loading = kernel.progLoadAsync(attr(uses(map)));
      kernel.close(map);
      const fd = await loading;
      expect(run(kernel, fd)).toBe(0);
      kernel.close(fd);
    });

    it('are refused as plain loads are', async () => {
      const { kernel } = subject;
      const bad = [
        new ProgramBuilder().mov64(R0, reg(R2)).exit(),
        uses(999 as never),
        new ProgramBuilder().mov64(R0, 0),
      ];
      for (const program of bad)
        expect(await later(kernel.progLoadAsync(attr(program)))).toBe(code(() => load(kernel, program)));
    });

    it('are given up', async () => {
      const { kernel } = subject;
      const options = { signal: AbortSignal.abort() };
      expect(await later(kernel.progLoadAsync(attr(returns(1)), options))).toBe('ECANCELED');
    });
  });
}
