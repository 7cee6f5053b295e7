/** The built-in headers: all of them go through our own compiler, alone and together; names and numbers that programs count on. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseBtf } from '../../src/btf/index.ts';
import { HELPER_PROTOTYPES } from '../../src/compiler/headers/helper-defs.ts';
import {
  builtinHeader,
  builtinHeaderNames,
  compile,
  formatDiagnostics,
  headersWithVmlinux,
  vmlinuxHeader,
  vmlinuxHeaderFor,
} from '../../src/compiler/index.ts';
import { parseElf } from '../../src/elf/index.ts';
import { HELPERS } from '../../src/spec/index.ts';

/** Diagnostics of a program, empty when there are none. */
function diagnostics(text: string, headers = builtinHeader): string {
  const result = compile({
    files: { read: () => undefined },
    main: 'test.bpf.c',
    text,
    options: { builtinHeader: headers, warnings: ['all'] },
  });
  return formatDiagnostics(result.sources, result.diagnostics);
}

describe('built-in headers', () => {
  for (const name of builtinHeaderNames())
    it(`${name} compiles by itself`, () => {
      const first = name === 'bpf/usdt.bpf.h' ? '#include <linux/bpf.h>\n#include <linux/ptrace.h>\n' : '';
      expect(diagnostics(`${first}#include <${name}>\nint x;\n`)).toBe('');
    });

  it('go together in any order', () => {
    // Types of vmlinux.h come before everything else, as with every compiler.
    const names = builtinHeaderNames().filter((name) => !name.startsWith('bpf/') && name !== 'vmlinux.h');
    const includes = (list: string[]): string => list.map((name) => `#include <${name}>\n`).join('');
    expect(diagnostics(`${includes(names)}#include <bpf/bpf_helpers.h>\n`)).toBe('');
    expect(diagnostics(`#include <bpf/bpf_helpers.h>\n${includes(names.reverse())}`)).toBe('');
    expect(diagnostics(`#include <vmlinux.h>\n${includes(names)}#include <bpf/bpf_helpers.h>\n`)).toBe('');
  });

  it('have a vmlinux.h where no kernel shows its types', () => {
    const program = `#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
SEC("tracepoint/syscalls/sys_enter_execve") int trace(struct trace_event_raw_sys_enter *ctx) {
	struct task_struct *task = (void *)bpf_get_current_task();
	struct iphdr ip = {};
	u32 parent = BPF_CORE_READ(task, real_parent, tgid);
	return parent + ctx->args[0] + ip.ttl + BPF_CORE_READ(task, cred, uid.val) + XDP_PASS;
}
`;
    expect(diagnostics(program)).toBe('');
  });

  it('have what programs of a Linux machine take from its C library', () => {
    const program = `#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <stdatomic.h>
#include <signal.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <linux/capability.h>
atomic_int count;
_Atomic(long) owner;
SEC("socket") int look(struct __sk_buff *skb) {
	struct timespec time = { .tv_sec = CLOCK_MONOTONIC };
	struct tcphdr tcp = { .th_sport = 3 };
	long expected = 4;
	atomic_store(&count, 2);
	atomic_compare_exchange_strong(&owner, &expected, 5);
	_Static_assert(SIGKILL == 9 && O_CREAT == 0100 && CAP_BPF == 39 && sizeof(struct ip) == 20, "facts");
	_Static_assert(sizeof(struct ether_header) == ETH_HLEN && S_ISREG(0100644), "facts");
	return atomic_load(&count) + atomic_fetch_add_explicit(&owner, 1, memory_order_relaxed) + time.tv_sec + tcp.source;
}
`;
    expect(diagnostics(program)).toBe('');
  });

  it('have every helper with its number and its types', () => {
    expect(Object.keys(HELPER_PROTOTYPES).sort()).toEqual(HELPERS.map((row) => row.name).sort());
    const text = builtinHeader('bpf/bpf_helper_defs.h')!;
    for (const { name, id } of HELPERS)
      expect(text).toMatch(new RegExp(`\\* const ${name}\\)\\(.*\\) = \\(void \\*\\) ${id};`));
  });

  it('lay records out as the kernel does', () => {
    const sizes = {
      xdp_md: 24,
      __sk_buff: 192,
      iphdr: 20,
      ipv6hdr: 40,
      tcphdr: 20,
      udphdr: 8,
      ethhdr: 14,
      icmphdr: 8,
    };
    const checks = Object.entries(sizes).map(
      ([name, size]) => `_Static_assert(sizeof(struct ${name}) == ${size}, "${name}");`,
    );
    expect(
      diagnostics(`#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/icmp.h>
${checks.join('\n')}
_Static_assert(__builtin_offsetof(struct __sk_buff, data) == 76, "data");
_Static_assert(BPF_MAP_TYPE_RINGBUF == 27 && XDP_REDIRECT == 4 && ETH_P_IPV6 == 0x86dd && IPPROTO_UDP == 17, "values");
`),
    ).toBe('');
  });

  it('swap bytes while compiling', () => {
    expect(
      diagnostics(`#include <bpf/bpf_endian.h>
_Static_assert(___bpf_swab16(0x1234) == 0x3412, "16");
_Static_assert(___bpf_swab32(0x12345678) == 0x78563412, "32");
_Static_assert(___bpf_swab64(0x0102030405060708ULL) == 0x0807060504030201ULL, "64");
`),
    ).toBe('');
  });

  it('unpack the arguments of tracing programs', () => {
    const program = `#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
struct inner { int value; } __attribute__((preserve_access_index));
struct outer { struct inner *in; char name[16]; } __attribute__((preserve_access_index));
SEC("fentry/f") int BPF_PROG(a, struct outer *o, int n) { return BPF_CORE_READ(o, in, value) + n; }
SEC("kprobe/f") int BPF_KPROBE(b, struct outer *o) { char name[16]; BPF_CORE_READ_STR_INTO(&name, o, name); return name[0]; }
SEC("kretprobe/f") int BPF_KRETPROBE(c, long ret) { bpf_printk("%d %d %d %d", ret, 1, 2, 3); return 0; }
SEC("ksyscall/f") int BPF_KSYSCALL(d, int fd) { return fd; }
char LICENSE[] SEC("license") = "GPL";
`;
    expect(diagnostics(program)).toBe('');
  });

  it('leave the types to a vmlinux.h', () => {
    const path = new URL('../../examples/objects/xdp_filter.bpf.o', import.meta.url);
    const { data } = parseElf(new Uint8Array(readFileSync(path))).sections.find(
      ({ name }) => name === '.BTF',
    )!;
    const headers = headersWithVmlinux(() => vmlinuxHeader(data));
    expect(
      diagnostics(
        `#include "vmlinux.h"
#include <linux/bpf.h>
#include <linux/if_ether.h>
struct counters c;
int protocol = ETH_P_IP;
`,
        headers,
      ),
    ).toBe('');
  });

  it('have the enumerators that programs take from vmlinux.h', () => {
    const text = `#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
struct event { char comm[TASK_COMM_LEN]; bool exit; } event = { .exit = true };
int state = TCP_ESTABLISHED + TCP_NEW_SYN_RECV + false;
`;
    for (const before of ['', '#include <linux/sched.h>\n']) expect(diagnostics(before + text)).toBe('');
    expect(diagnostics(`${text}#include <stdbool.h>\nbool on = true;`)).toBe('');
  });

  it('make the part of a vmlinux.h that a program can mean', () => {
    const path = new URL('../../examples/objects/xdp_filter.bpf.o', import.meta.url);
    const { data } = parseElf(new Uint8Array(readFileSync(path))).sections.find(
      ({ name }) => name === '.BTF',
    )!;
    const btf = parseBtf(data);
    const text = vmlinuxHeaderFor(btf, new Set(['counters']));
    expect(text).toContain('struct counters {');
    expect(text).not.toContain('struct network {');
    // Reached through a member that is named, and only then.
    expect(vmlinuxHeaderFor(btf, new Set(['xdp_md', 'XDP_PASS']))).toMatch(/XDP_PASS = 2|struct xdp_md/);
    expect(vmlinuxHeaderFor(btf, new Set())).not.toContain('struct');
  });
});
