/** `BPF({ debug })`: each flag shows its part of a program's way, on stderr, and no other. */
import { describe, expect, it } from 'vitest';
import {
  BPF,
  DEBUG_BPF,
  DEBUG_BPF_REGISTER_STATE,
  DEBUG_BTF,
  DEBUG_LLVM_IR,
  DEBUG_PREPROCESSOR,
  DEBUG_SOURCE,
} from '../../src/bcc/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { VerifierError } from '../../src/util/index.ts';

const TEXT = `#define LIMIT 12
struct seen_t { u64 count; };
BPF_HASH(seen, u32, struct seen_t);
int count(void *ctx) {
  u32 pid = bpf_get_current_pid_tgid() >> 32;
  if (pid > LIMIT) return 0;
  struct seen_t zero = {}, *one = seen.lookup_or_try_init(&pid, &zero);
  if (one) one->count++;
  return 0;
}`;

function shown(debug: number, text = TEXT): string {
  let out = '';
  const writeError = (more: string) => {
    out += more;
  };
  using b = new BPF({ kernel: new EmbeddedKernel(), text, debug, writeError });
  b.loadFunc('count', BPF.KPROBE);
  return out;
}

describe('debug', () => {
  it('has the numbers of BCC', () => {
    expect([DEBUG_LLVM_IR, DEBUG_BPF, DEBUG_PREPROCESSOR, DEBUG_SOURCE]).toEqual([1, 2, 4, 8]);
    expect([DEBUG_BPF_REGISTER_STATE, DEBUG_BTF]).toEqual([16, 32]);
  });

  it('is silent without a flag', () => {
    expect(shown(0)).toBe('');
  });

  it('shows the IR', () => {
    expect(shown(DEBUG_LLVM_IR)).toMatch(/^=== IR, after the passes\n[\s\S]*define global i32 @count\(/);
  });

  it('shows the preprocessed source once, with its macros gone', () => {
    const out = shown(DEBUG_PREPROCESSOR);
    expect(out.split('=== preprocessed source')).toHaveLength(2);
    expect(out).toMatch(/if \(pid > 12\) return 0;/);
  });

  it('shows instructions with the lines that they come from', () => {
    const out = shown(DEBUG_SOURCE);
    expect(out).toMatch(
      /^=== count: \d+ instructions \(.*\)\ncount:\n; u32 pid = bpf_get_current_pid_tgid\(\) >> 32; @ main\.c:5\n {3}0: /,
    );
    expect(out).toMatch(/; if \(one\) one->count\+\+; @ main\.c:8\n/);
  });

  it('shows what is loaded, and the verifier’s state at branches or at all instructions', () => {
    const branches = shown(DEBUG_BPF);
    expect(branches).toMatch(/=== count: \d+ instructions \(kprobe\)\ncount:\n {3}0: \(/);
    expect(branches).toMatch(/=== count: the verifier's log\n[\s\S]*processed \d+ insns/);
    const all = shown(DEBUG_BPF_REGISTER_STATE);
    const states = (text: string) => text.match(/ R\d+(?:_w)?=/g)?.length ?? 0;
    expect(states(all)).toBeGreaterThan(states(branches));
  });

  it('shows the log of a function that is refused, too', () => {
    let out = '';
    const writeError = (more: string) => {
      out += more;
    };
    const text = 'int count(struct pt_regs *ctx) { return *(volatile int *)((long)ctx + 4096); }';
    using b = new BPF({ kernel: new EmbeddedKernel(), text, debug: DEBUG_BPF, writeError });
    expect(() => b.loadFunc('count', BPF.SCHED_CLS)).toThrow(VerifierError);
    expect(out).toMatch(/the verifier's log\n[\s\S]*invalid/);
  });

  it('shows the types of tables and events', () => {
    const out = shown(
      DEBUG_BTF,
      `${TEXT}\nBPF_PERF_OUTPUT(events);\nint f(void *ctx) { struct seen_t one = {}; events.perf_submit(ctx, &one, sizeof(one)); return 0; }`,
    );
    expect(out).toMatch(/^=== BTF: \d+ bytes\n/);
    expect(out).toContain('table seen: key u32, value struct seen_t\n');
    expect(out).toContain('table events: events struct seen_t\n');
    expect(out).toMatch(/function count: 1 function records, \d+ lines/);
  });
});
