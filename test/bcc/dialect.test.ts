/** What programs written for BCC do with C and with the kernel's headers: each was found in one of BCC's own tools. */
import { describe, expect, it } from 'vitest';
import { BPF, isBccSource } from '../../src/bcc/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { fireProbe } from './support.ts';

describe('the BCC dialect', () => {
  const open = (text: string, cflags: string[] = []) => {
    const kernel = new EmbeddedKernel();
    return { kernel, b: new BPF({ kernel, text, cflags }) };
  };

  it('copies a fixed length from a shorter text', () => {
    const { kernel, b } = open(`
      struct key_t { char op[8]; };
      BPF_HASH(ops, struct key_t);
      static int done(struct pt_regs *ctx, const char *op) {
        struct key_t key = {};
        __builtin_memcpy(&key.op, op, sizeof(key.op));
        ops.increment(key);
        return 0;
      }
      int kprobe__on_read(struct pt_regs *ctx) { char *op = "read"; return done(ctx, op); }
      int kprobe__on_sync(struct pt_regs *ctx) { char *op = "fsync"; return done(ctx, op); }`);
    fireProbe(kernel, 'on_read', []);
    fireProbe(kernel, 'on_sync', []);
    expect(new Set([...b.get('ops').keys()].map((key) => (key as { op: string }).op))).toEqual(
      new Set(['read', 'fsync']),
    );
  });

  it('takes records that the program defines itself, where the kernel has them, too', () => {
    const { kernel, b } = open(`
      #include <linux/sched.h>
      #include <linux/nsproxy.h>
      #include <linux/ns_common.h>
      struct mnt_namespace { struct ns_common ns; };
      BPF_HASH(seen, u32, u32);
      int kprobe__here(struct pt_regs *ctx) {
        struct task_struct *task = (struct task_struct *)bpf_get_current_task();
        u32 key = 1, inum = task->nsproxy->mnt_ns->ns.inum;
        seen.update(&key, &inum);
        return 0;
      }`);
    fireProbe(kernel, 'here', []);
    expect(b.get('seen').size).toBe(1);
  });

  it('takes records that are a part of the kernel’s others', () => {
    const { kernel, b } = open(`
      #include <uapi/linux/ptrace.h>
      struct sock { u32 **sk_daddr; };
      BPF_HASH(seen, u32, u32);
      int kprobe__here(struct pt_regs *ctx, struct sock *skp) {
        u32 *daddr = *(skp->sk_daddr);
        u32 key = 1, value = *daddr;
        seen.update(&key, &value);
        return 0;
      }`);
    fireProbe(kernel, 'here', [0n]);
    expect(b.get('seen').get(1)).toBe(0);
  });

  it('has the functions of string.h without it', () => {
    const { kernel, b } = open(`
      struct Ptr { u64 ptr; };
      struct Counters { char unused; u64 stat1; };
      BPF_HASH(stats, struct Ptr, struct Counters, 1024);
      int kprobe__here(struct pt_regs *ctx) {
        struct Ptr key = {.ptr=PT_REGS_PARM1(ctx)};
        struct Counters zleaf;
        memset(&zleaf, 0, sizeof(zleaf));
        struct Counters *val = stats.lookup_or_try_init(&key, &zleaf);
        if (val) val->stat1++;
        return 0;
      }`);
    fireProbe(kernel, 'here', [3n]);
    expect([...b.get('stats').values()]).toMatchObject([{ stat1: 1 }]);
  });

  it('has functions of the kernel’s headers that are more than types', () => {
    const { kernel, b } = open(`
      #include <linux/scatterlist.h>
      #include <linux/skbuff.h>
      struct list_t { unsigned long page_link; };
      struct packet_t { u16 queue_mapping; };
      BPF_HASH(seen, u32, u64);
      int kprobe__here(struct pt_regs *ctx, unsigned long link) {
        struct list_t sg = { .page_link = link };
        struct packet_t skb = { .queue_mapping = 3 };
        u32 key = 1;
        u64 value = !!sg_is_chain(&sg) | !!sg_is_last(&sg) << 1 | skb_get_rx_queue(&skb) << 2;
        seen.update(&key, &value);
        return 0;
      }`);
    fireProbe(kernel, 'here', [3n]);
    expect(b.get('seen').get(1)).toBe(3 | (2 << 2));
  });

  it('knows the machine, its CPUs and its units of time', () => {
    const { kernel, b } = open(
      `
      #ifndef __x86_64__
      #error "no machine"
      #endif
      BPF_HASH(seen, u32, u64);
      int kprobe__here(struct pt_regs *ctx) {
        u32 key = bpf_num_cpus();
        u64 value = NSEC_PER_SEC / NSEC_PER_MSEC + NAME;
        seen.update(&key, &value);
        return 0;
      }`,
      ['-DNAME=7'],
    );
    fireProbe(kernel, 'here', []);
    expect([...b.get('seen')]).toEqual([[1, 1007]]);
  });

  it('is told from C for libbpf', () => {
    expect(isBccSource('BPF_HASH(t);\nint f(void *ctx) { return 0; }')).toBe(true);
    expect(isBccSource('  TRACEPOINT_PROBE(sched, sched_switch) { return 0; }')).toBe(true);
    expect(isBccSource('#include <bpf/bpf_helpers.h>\n#define BPF_HASH(x)\nBPF_HASH(t);')).toBe(false);
    expect(isBccSource('SEC("xdp") int f(struct xdp_md *ctx) { return 2; }')).toBe(false);
    expect(isBccSource('/* BPF_HASH( */ int x;')).toBe(false);
  });
});
