/**
 * What is deduced of numbers since which release: of each rule a program whose last jump leads to a forbidden access where
 * the rule is missing. Compared with Linux 5.10, 6.1 and 6.12 by `npm run verdicts` (test/guest/verdicts/bounds.ts).
 */
import { describe, expect, it } from 'vitest';
import { BtfBuilder } from '../../src/btf/index.ts';
import { RULES, type RuleName } from '../../src/spec/index.ts';
import { check } from './support.ts';

/** R0 and R6 are unknown numbers; `bad` must not be reached, `out` may be. */
function program(lines: string): string {
  return `
call 7
r6 = r0
call 7
${lines}
out:
r0 = 0
exit
bad:
r0 = *(u64 *)(r10 +8)
exit`;
}

const NEED: readonly (readonly [RuleName, string, string, string])[] = [
  ['bounds_of_halves', '5.4', '5.7', 'if w0 > 10 goto out\nw1 = w0\nif r1 > 12 goto bad'],
  ['linked_copies', '5.4', '5.10', 'r1 = r0\nif r0 > 7 goto out\nif r1 > 7 goto bad'],
  ['equality_by_range', '6.1', '6.4', 'r0 &= 7\nif r0 == 9 goto bad'],
  ['linked_halves', '6.1', '6.6', 'r0 &= 255\nw1 = w0\nif r0 > 7 goto out\nif r1 > 7 goto bad'],
  ['ranges_of_both_operands', '6.6', '6.8', 'r0 &= 7\nr6 &= 7\nr6 += 8\nif r0 >= r6 goto bad'],
  [
    'linked_spills',
    '6.6',
    '6.9',
    'r0 &= 255\n*(u64 *)(r10 -8) = r0\nif r0 > 7 goto out\nr1 = *(u64 *)(r10 -8)\nif r1 > 7 goto bad',
  ],
  ['bitwise_ranges', '6.6', '6.10', 'r0 &= 7\nr6 &= 7\nr0 |= r6\nif r0 > 7 goto bad'],
  ['linked_sums', '6.10', '6.11', 'r0 &= 255\nr1 = r0\nr1 += 1\nif r0 > 7 goto out\nif r1 > 8 goto bad'],
  ['negative_products', '6.12', '6.14', 'r0 &= 7\nr0 -= 4\nr0 *= 3\nif r0 s> 9 goto bad'],
  [
    'wrapped_sums',
    '6.12',
    '6.17',
    'r0 &= 7\nr1 = 0x8000000080000000 ll\nr0 += r1\nr1 += 5\nr0 += r1\nr2 = 0x10000000c ll\nif r0 > r2 goto bad',
  ],
  ['bits_and_signs', '6.17', '6.18', 'r0 &= 6\nif r0 == 3 goto bad'],
];

describe('deductions', () => {
  it.each(NEED)('%s: not in %s, but in %s', (rule, without, since, lines) => {
    const load = (release: string) => check(program(lines), { release });
    expect(load(without).verdict, without).toBe('reject');
    expect(load(since), since).toMatchObject({ verdict: 'accept' });
    expect(load('6.18').verdict).toBe('accept');
    expect(RULES[rule].since).toBe(since);
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
