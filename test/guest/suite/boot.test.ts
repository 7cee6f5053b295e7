/** What the rest of the suite stands on: the file systems are mounted, the kernel has BTF, koffi reaches bpf(2). */
import { readdirSync, readFileSync } from 'node:fs';
import koffi from 'koffi';
import { describe, expect, it } from 'vitest';

describe('guest', () => {
  it('is a Linux with BTF, tracefs, debugfs, bpffs and a BPF LSM', () => {
    expect(readFileSync('/sys/kernel/btf/vmlinux').readUInt16LE(0)).toBe(0xeb9f);
    expect(readdirSync('/sys/kernel/tracing')).toContain('kprobe_events');
    expect(readdirSync('/sys/kernel/debug/tracing')).toContain('trace_pipe');
    expect(readdirSync('/sys/fs/bpf')).toEqual([]);
    expect(readFileSync('/sys/kernel/security/lsm', 'utf8').split(',')).toContain('bpf');
  });

  it('calls bpf(2) through koffi', () => {
    const libc = koffi.load('libc.so.6');
    const syscall = libc.func('long syscall(long, long, uint8_t *, long)');
    const attr = Buffer.alloc(128);
    attr.writeUInt32LE(2, 0); // BPF_MAP_TYPE_ARRAY
    for (const at of [4, 8, 12]) attr.writeUInt32LE(4, at);
    expect(syscall(321, 0, attr, attr.length)).toBeGreaterThan(0);
  });
});
