import { describe, expect, it } from 'vitest';
import { check, map, verdict } from './support.ts';

describe('structure', () => {
  it.each([
    ['r0 = 0', 'EINVAL: last insn is not an exit or jmp'],
    ['goto pc+1\nexit', 'EINVAL: jump out of range from insn 0 to 2'],
    ['goto pc+1\nr0 = 0\nr0 = 1\nexit', 'EINVAL: unreachable insn 1'],
    ['exit', 'EACCES: R0 !read_ok'],
    ['r0 = 1\nr10 = 2\nexit', 'EACCES: frame pointer is read only'],
    ['r0 = 1\nr0 /= 0\nexit', 'EINVAL: div by zero'],
    ['r0 = 1\nr0 <<= 64\nexit', 'EINVAL: invalid shift 64'],
    ['r1 = map[fd:7]\nr0 = 0\nexit', 'EBADF: fd 7 is not pointing to valid bpf_map'],
  ])('%j: %s', (text, reason) => {
    expect(verdict(text)).toBe(reason);
  });

  it('refuses opcodes that do not exist', () => {
    const insns = [
      { code: 0xff, dst: 0, src: 0, off: 0, imm: 0 },
      { code: 0x95, dst: 0, src: 0, off: 0, imm: 0 },
    ];
    expect(verdict('exit', { insns })).toBe('EINVAL: unknown opcode ff');
  });
});

describe('loops', () => {
  it('that are bounded are followed to their end', () => {
    const result = check('r0 = 0\nr0 += 1\nif r0 < 100 goto pc-2\nexit');
    expect(result.verdict).toBe('accept');
    expect(result.stats.insnsProcessed).toBe(202);
  });

  it('that are endless are noticed', () => {
    const result = check('r0 = 0\ngoto pc-1', { logLevel: 2 });
    expect(result).toMatchObject({ verdict: 'reject', errno: 'EINVAL', insn: 1 });
    expect(result.log).toContain('infinite loop detected at insn 1');
  });

  it('that are too long hit the limit', () => {
    const result = check('r0 = 0\nr0 += 1\nif r0 < 1000000 goto pc-2\nexit');
    expect(result).toMatchObject({
      errno: 'E2BIG',
      message: 'BPF program is too large. Processed 1000001 insn',
    });
  });

  it('of bpf_loop and may_goto converge', () => {
    const result = check('r1 = 0\nr1 += 1\nmay_goto pc+1\ngoto pc-3\nr0 = 0\nexit');
    expect(result.verdict).toBe('accept');
    expect(result.stats.insnsProcessed).toBeLessThan(30);
  });
});

describe('calls', () => {
  it('pass R1–R5 and return R0', () => {
    expect(verdict('r1 = 7\ncall pc+1\nexit\nr0 = r1\nexit')).toBe('accept');
    expect(verdict('r6 = 7\ncall pc+1\nexit\nr0 = r6\nexit')).toBe('EACCES: R6 !read_ok');
    expect(verdict('call pc+2\nr0 = r2\nexit\nr2 = 1\nr0 = 0\nexit')).toBe('EACCES: R2 !read_ok');
  });

  it('nest eight deep', () => {
    const nest = (depth: number) => {
      let text = '';
      for (let i = 1; i < depth; i++) text += 'call pc+1\nexit\n';
      return `${text}r0 = 0\nexit`;
    };
    expect(verdict(nest(8))).toBe('accept');
    expect(verdict(nest(9))).toBe('E2BIG: the call stack of 9 frames is too deep');
  });

  it('share 512 bytes of stack', () => {
    const text = '*(u64 *)(r10 -256) = 0\ncall pc+1\nexit\n*(u64 *)(r10 -264) = 0\nr0 = 0\nexit';
    expect(verdict(text)).toBe('EACCES: combined stack size of 2 calls is 528. Too large');
    expect(verdict(text.replace('-264', '-256'))).toBe('accept');
  });

  it('of helpers are for the types that have them', () => {
    expect(verdict('call bpf_xdp_adjust_head#44\nexit')).toContain('program of this type cannot use helper');
    expect(verdict('call unknown#9999\nexit')).toBe('EINVAL: invalid func unknown#9999');
    expect(verdict('r1 = 1\nr2 = 1\ncall bpf_trace_printk#6\nexit', { gplCompatible: false })).toBe(
      'EINVAL: cannot call GPL-restricted function from non-GPL compatible program',
    );
  });

  it('check that memory is initialised for helpers that read it', () => {
    const hash = map('hash', 8, 8);
    const text = 'r2 = r10\nr2 += -8\nr1 = map[fd:1]\ncall bpf_map_lookup_elem#1\nr0 = 0\nexit';
    // Root may read uninitialised stack.
    expect(verdict(text, { maps: [hash] })).toBe('accept');
    const plain = { uid: 1, capBpf: true, capPerfmon: false, capNetAdmin: false, capSysAdmin: false };
    expect(verdict(text, { maps: [hash], credentials: plain })).toBe(
      'EACCES: invalid read from stack R2 off=-8 size=8',
    );
  });
});

describe('references', () => {
  const ringbuf = map('ringbuf', 0, 0, { maxEntries: 4096 });
  const reserve = 'r1 = map[fd:1]\nr2 = 8\nr3 = 0\ncall bpf_ringbuf_reserve#131\nif r0 == 0x0 goto pc+4\n';

  it('are given back', () => {
    const submit = `${reserve}*(u64 *)(r0 +0) = 1\nr1 = r0\nr2 = 0\ncall bpf_ringbuf_submit#132\nr0 = 0\nexit`;
    expect(verdict(submit, { maps: [ringbuf] })).toBe('accept');
    const leak = `${reserve}r1 = r0\nr2 = 0\nr3 = 0\nr4 = 0\nr0 = 0\nexit`;
    expect(verdict(leak, { maps: [ringbuf] })).toBe(
      'EINVAL: BPF_EXIT instruction in main prog would lead to reference leak',
    );
  });

  it('are gone afterwards', () => {
    const text = `${reserve.replace('+4', '+5')}r6 = r0\nr1 = r0\nr2 = 0\ncall bpf_ringbuf_submit#132\n*(u64 *)(r6 +0) = 1\nr0 = 0\nexit`;
    expect(verdict(text, { maps: [ringbuf] })).toBe("EACCES: R6 invalid mem access 'scalar'");
  });
});

describe('pruning', () => {
  /** A state is remembered at every possible place (BPF_F_TEST_STATE_FREQ). */
  const everywhere = { flags: 1 << 3 };

  it('follows what an atomic operation fetched back to the stack', () => {
    const fetch = (last: number) => `
      r8 = 4096
      *(u64 *)(r10 - 8) = r8
      call bpf_get_prandom_u32#7
      if r0 > 5 goto pc+2
      r8 = ${last}
      *(u64 *)(r10 - 8) = r8
      r8 = 0
      r2 = 0
      r2 = atomic64_fetch_add((u64 *)(r10 - 8), r2)
      r3 = r10
      r3 += -16
      r3 += r2
      *(u8 *)(r3 + 0) = 0
      r0 = 0
      exit`;
    expect(verdict(fetch(0), everywhere)).toBe('EACCES: invalid write to stack R3 off=4080 size=1');
  });

  it('does not take a distance to one register for a distance to another', () => {
    const distance = (from: string) => `
      call bpf_get_prandom_u32#7
      r6 = r0
      r6 &= 15
      call bpf_get_prandom_u32#7
      r7 = r0
      r7 &= 15
      call bpf_get_prandom_u32#7
      r1 = r6
      r2 = r7
      if r0 > 9 goto pc+3
      r8 = r6
      r8 += 2
      goto pc+2
      r8 = ${from}
      r8 += 2
      if r8 > 5 goto pc+5
      r3 = r10
      r3 += -4
      r3 += r6
      r4 = r1
      *(u8 *)(r3 + 0) = 0
      r0 = r7
      exit`;
    expect(verdict(distance('r6'), everywhere)).toBe('accept');
    expect(verdict(distance('r7'), everywhere)).toMatch(/invalid variable-offset write to stack R3/);
  });
});
