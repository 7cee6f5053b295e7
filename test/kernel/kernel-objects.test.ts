/** Programs that look at objects of the kernel, written against the built-in vmlinux.h: over events alone, on both engines. */
import { describe, expect, it } from 'vitest';
import { builtinHeader, compile, formatDiagnostics } from '../../src/compiler/index.ts';
import type { KernelArg, KernelObjectArg } from '../../src/contracts/events.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';

const HEAD = `#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
char LICENSE[] SEC("license") = "GPL";
`;

function build(source: string): Uint8Array {
  const { object, sources, diagnostics } = compile({
    main: 'test.bpf.c',
    text: HEAD + source,
    files: { read: () => undefined },
    options: { builtinHeader, debug: true },
  });
  expect(formatDiagnostics(sources, diagnostics)).toBe('');
  return object!;
}

const process = { pid: 21, tgid: 20, uid: 1000, comm: 'worker' };
const sock = (port: number): KernelObjectArg => ({
  kind: 'object',
  struct: 'sock',
  members: {
    __sk_common: { skc_dport: port, skc_family: 2, skc_daddr: 0x0100007f },
    sk_socket: { file: { f_path: { dentry: { d_name: { name: 'tcp:[7]' } } } } },
  },
});

for (const jit of [0, 1]) {
  describe(`objects of the kernel, bpf_jit_enable = ${jit}`, () => {
    /** Loads and attaches the source, fires the events, gives what was printed. */
    function printed(
      source: string,
      fire: (kernel: EmbeddedKernel, raw: (name: string, args: readonly KernelArg[]) => void) => void,
    ): string[] {
      const kernel = new EmbeddedKernel();
      kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
      const object = BpfObject.open(build(source));
      object.load(kernel);
      object.attach();
      let time = 1_000n;
      fire(kernel, (name, args) => {
        time += 1_000n;
        kernel.simulator.fire({ kind: 'raw_tracepoint', name, args, process, time });
      });
      const lines = kernel.simulator
        .drainTrace()
        .map((line) => line.message.trimEnd().replace('bpf_trace_printk: ', ''));
      expect(kernel.simulator.oopses()).toEqual([]);
      object.close();
      kernel.shutdown();
      return lines;
    }

    it('are read through pointers of BTF', () => {
      const lines = printed(
        `SEC("tp_btf/inet_sock_set_state") int BPF_PROG(state, struct sock *sk, int from, int to) {
	bpf_printk("%d port %d: %d to %d", sk->__sk_common.skc_family, sk->__sk_common.skc_dport, from, to);
	return 0;
}`,
        (_, raw) => raw('inet_sock_set_state', [sock(443), 1n, 8n]),
      );
      expect(lines).toEqual(['2 port 443: 1 to 8']);
    });

    it('are read with probe reads, through several pointers', () => {
      const lines = printed(
        `SEC("raw_tp/tcp_destroy_sock") int gone(struct bpf_raw_tracepoint_args *ctx) {
	struct sock *sk = (void *)ctx->args[0];
	const unsigned char *name = BPF_CORE_READ(sk, sk_socket, file, f_path.dentry, d_name.name);
	char text[16];
	bpf_probe_read_kernel_str(text, sizeof(text), name);
	bpf_printk("%s %x", text, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	return 0;
}`,
        (_, raw) => {
          raw('tcp_destroy_sock', [sock(1)]);
          raw('tcp_destroy_sock', [0n]);
        },
      );
      expect(lines).toEqual(['tcp:[7] 100007f', ' 0']);
    });

    it('a NULL on the way reads as zero', () => {
      const lines = printed(
        `SEC("tp_btf/tcp_destroy_sock") int BPF_PROG(gone, struct sock *sk) {
	bpf_printk("%d", sk->sk_socket->file->f_flags);
	return 0;
}`,
        (_, raw) => raw('tcp_destroy_sock', [{ kind: 'object', struct: 'sock', members: {} }]),
      );
      expect(lines).toEqual(['0']);
    });

    it('tasks are those of the process table', () => {
      const lines = printed(
        `SEC("tp_btf/sched_process_fork") int BPF_PROG(forked, struct task_struct *parent, struct task_struct *child) {
	bpf_printk("%s %d of %d, user %d", child->comm, child->pid, child->real_parent->tgid, child->cred->uid.val);
	return 0;
}
SEC("tp_btf/sched_process_exec") int BPF_PROG(exec, struct task_struct *p, pid_t old, struct linux_binprm *bprm) {
	char path[32];
	bpf_probe_read_kernel_str(path, sizeof(path), bprm->filename);
	bpf_printk("%s is %s", p->comm, path);
	return 0;
}
SEC("tp_btf/sched_switch") int BPF_PROG(switched, bool preempt, struct task_struct *prev, struct task_struct *next) {
	bpf_printk("%s to %s", prev->comm, next->comm);
	return 0;
}`,
        (kernel, raw) => {
          const { simulator } = kernel;
          simulator.fire({ kind: 'fork', process, child: { pid: 30 }, time: 10n });
          const child = { pid: 30 };
          simulator.fire({ kind: 'exec', process: child, comm: 'true', filename: '/bin/true', time: 20n });
          raw('sched_switch', [0n, { kind: 'task', process }, { kind: 'task', process: child }, 0n]);
        },
      );
      expect(lines).toEqual(['worker 30 of 20, user 1000', 'true is /bin/true', 'worker to true']);
    });

    it('functions are entered and left', () => {
      const lines = printed(
        `SEC("fentry/do_unlinkat") int BPF_PROG(enter, int dfd, struct filename *name) {
	char text[16];
	bpf_probe_read_kernel_str(text, sizeof(text), name->name);
	bpf_printk("unlink %s", text);
	return 0;
}
SEC("fexit/do_unlinkat") int BPF_PROG(leave, int dfd, struct filename *name, long ret) {
	bpf_printk("%d: %ld", dfd, ret);
	return 0;
}
SEC("kprobe/do_unlinkat") int BPF_KPROBE(probe, int dfd, struct filename *name) {
	bpf_printk("probe %d", dfd);
	return 0;
}`,
        ({ simulator }) => {
          const name = { kind: 'object', struct: 'filename', members: { name: '/tmp/x' } } as const;
          const dfd = { kind: 'value', value: -100n } as const;
          const of = { symbol: 'do_unlinkat', process };
          simulator.fire({ kind: 'kprobe', ...of, args: [dfd, name], time: 1n });
          simulator.fire({ kind: 'kretprobe', ...of, args: [-100n], ret: -2n, time: 2n });
        },
      );
      expect(lines).toEqual(['probe -100', 'unlink /tmp/x', '-100: -2']);
    });

    it('hooks of the security module are asked in turn', () => {
      const verdicts: number[] = [];
      const lines = printed(
        `SEC("lsm/file_open") int BPF_PROG(first, struct file *file, int ret) {
	if (ret) return ret;
	return file->f_flags == 2 ? -1 : 0;
}
SEC("lsm/file_open") int BPF_PROG(second, struct file *file, int ret) {
	bpf_printk("flags %d", file->f_flags);
	return 0;
}`,
        ({ simulator }) => {
          for (const f_flags of [1, 2]) {
            const args = [{ kind: 'object', struct: 'file', members: { f_flags } }] as const;
            verdicts.push(simulator.ask({ kind: 'lsm', hook: 'file_open', args, process, time: 1n }));
          }
        },
      );
      expect(verdicts).toEqual([0, -1]);
      expect(lines).toEqual(['flags 1']);
    });

    it('what the types do not have is said, and nothing of an event stays in memory', () => {
      const source = `SEC("raw_tp/x") int x(struct bpf_raw_tracepoint_args *ctx) { return 0; }`;
      printed(source, (_, raw) => {
        const named = (struct: string, members: KernelObjectArg['members']) => () =>
          raw('x', [{ kind: 'object', struct, members }]);
        expect(named('nonesuch', {})).toThrow(/no struct nonesuch/);
        expect(named('sock', { sk_nonesuch: 1 })).toThrow(/sk_nonesuch/);
        expect(named('sock', { __sk_common: { skc_dport: 70_000 } })).toThrow(/skc_dport/);
        expect(named('file', { f_path: { dentry: { d_name: { name: 'a'.repeat(2 << 20) } } } })).toThrow(
          /at most/,
        );
        const large = { f_path: { dentry: { d_name: { name: 'a'.repeat(900_000) } } } };
        for (let i = 0; i < 1000; i++) named('file', large)();
      });
    });
  });
}

it('a member that is not modelled can be asked for', () => {
  const kernel = new EmbeddedKernel();
  const source = `struct task_struct___old { int gone_since; } __attribute__((preserve_access_index));
SEC("raw_tp/x") int x(void *ctx) {
	struct task_struct___old *task = (void *)bpf_get_current_task();
	if (bpf_core_field_exists(task->gone_since)) return BPF_CORE_READ(task, gone_since);
	return bpf_core_type_exists(struct task_struct) ? 7 : 8;
}`;
  const object = BpfObject.open(build(source));
  object.load(kernel);
  const progFd = object.programs[0]!.fd;
  expect(kernel.progTestRun({ progFd, ctxIn: new Uint8Array(16) }).retval).toBe(7);
  object.close();
  kernel.shutdown();
});

it("the UAPI's records are relocated onto, as programs with a Linux's vmlinux.h ask for them", () => {
  const source = `#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct xdp_md___mine { __u32 data_end; __u32 data; };
struct iphdr___mine { __u8 version: 4; __u8 ihl: 4; __u8 protocol; __be32 daddr; };
union bpf_attr___mine { __u32 map_type; };
#pragma clang attribute pop
SEC("xdp") int x(struct xdp_md___mine *ctx) {
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct iphdr___mine *ip = data + 14;
	if (data + 34 > end) return 1;
	if (!bpf_core_field_exists(union bpf_attr___mine, map_type) || bpf_core_type_size(struct __sk_buff) != 192) return 2;
	return ip->protocol << 16 | BPF_CORE_READ_BITFIELD(ip, ihl) << 8 | (ip->daddr & 0xff);
}`;
  for (const jit of [0, 1]) {
    const kernel = new EmbeddedKernel();
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
    const object = BpfObject.open(build(source));
    object.load(kernel);
    const dataIn = new Uint8Array(64);
    dataIn.set([0x45], 14);
    dataIn.set([17], 23);
    dataIn.set([10, 0, 0, 1], 30);
    expect(kernel.progTestRun({ progFd: object.programs[0]!.fd, dataIn }).retval).toBe(0x11050a);
    object.close();
    kernel.shutdown();
  }
});
