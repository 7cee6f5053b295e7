/**
 * What is deduced of numbers since which release: of each rule a program whose last jump leads to a forbidden access where
 * the rule is missing. Compared with Linux 5.10, 6.1 and 6.12 by `npm run verdicts` (test/guest/verdicts/bounds.ts).
 */
import { describe, expect, it } from 'vitest';
import { BtfBuilder } from '../../src/btf/index.ts';
import { RULES } from '../../src/spec/index.ts';
import { DEDUCTION_NEEDS, deductionProgram as program } from './deduction-programs.ts';
import { check } from './support.ts';

describe('deductions', () => {
  it.each(DEDUCTION_NEEDS)('$rule: not in $without', ({ rule, without, lines }) => {
    const { since } = RULES[rule];
    const load = (release: string) => check(program(lines), { release });
    expect(load(without).verdict, without).toBe('reject');
    expect(load(since), since).toMatchObject({ verdict: 'accept' });
    expect(load('6.18').verdict).toBe('accept');
  });

  it('are those of the newest again after a verification for an older release', () => {
    const text = program('r0 &= 6\nif r0 == 3 goto bad');
    expect(check(text, { release: '5.4' }).verdict).toBe('reject');
    expect(check(text).verdict).toBe('accept');
  });

  it('that an older release alone has: a 32-bit quotient has 32 bits', () => {
    const text = program('w0 /= 3\nr0 >>= 32\nif r0 > 0 goto bad');
    expect(check(text, { release: '6.1' }).verdict).toBe('accept');
  });
});

describe('kernel functions of older releases', () => {
  const load = (name: string, type: string, release: string) => {
    const types = new BtfBuilder();
    const proto = types.add({ kind: 'func_proto', returnType: 0, params: [] });
    const id = types.add({ kind: 'func', name, type: proto, linkage: 'static' });
    return check(`call kernel-function#${id}\nr0 = 0\nexit`, { type, kernelBtf: types.build(), release });
  };
  const notAllowed = (name: string) => `calling kernel function ${name} is not allowed`;

  it('may be called by programs of fewer types', () => {
    expect(load('crash_kexec', 'xdp', '6.6')).toMatchObject({ message: notAllowed('crash_kexec') });
    expect(load('crash_kexec', 'xdp', '6.12').verdict).toBe('accept');
    expect(load('crash_kexec', 'sched_cls', '6.1')).toMatchObject({ message: notAllowed('crash_kexec') });
    expect(load('crash_kexec', 'sched_cls', '6.6').verdict).toBe('accept');
    expect(load('bpf_throw', 'tracepoint', '6.8')).toMatchObject({ message: notAllowed('bpf_throw') });
  });

  it('have the names that they had', () => {
    expect(load('cgroup_rstat_updated', 'perf_event', '6.12').verdict).toBe('accept');
    expect(load('css_rstat_updated', 'perf_event', '6.12').verdict).toBe('reject');
    expect(load('cgroup_rstat_updated', 'perf_event', '6.18').verdict).toBe('reject');
    expect(load('css_rstat_updated', 'perf_event', '6.18').verdict).toBe('accept');
  });
});
