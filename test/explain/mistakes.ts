/**
 * Typical mistakes, as small programs in the kernel's assembly: `; 12: text` starts the instructions of line 12. For each what the
 * explanation has to name. `input`: what an input that goes wrong has to show; null: there is none to be found.
 */
import type { MapInfo } from '../../src/contracts/maps.ts';
import type { Credentials } from '../../src/contracts/verify.ts';
import { BPF_ONLY, map, NOBODY } from '../verifier/support.ts';

export interface Mistake {
  readonly name: string;
  readonly type: string;
  readonly maps?: readonly MapInfo[];
  readonly text: string;
  readonly credentials?: Credentials;
  readonly gpl?: boolean;
  readonly flags?: number;
  /** Number of the expected attach type, default 0. */
  readonly attachType?: number;
  readonly kind: string;
  readonly line: number | null;
  readonly why: RegExp;
  readonly fix: RegExp;
  readonly path?: RegExp;
  readonly input?: RegExp | null;
  /** The program with the fix applied: it loads. */
  readonly fixed?: string;
}

const counts = map('hash', 4, 8, { name: 'counts', maxEntries: 16 });
const table = map('array', 4, 64, { name: 'table', maxEntries: 4 });
const events = map('ringbuf', 0, 0, { name: 'events', maxEntries: 4096 });
const constants = map('array', 4, 8, { name: '.rodata', flags: 1 << 7 });
const locked = map('array', 4, 16, {
  name: 'locked',
  maxEntries: 4,
  hasBtf: true,
  specialFields: [{ kind: 'spin_lock', offset: 0, size: 4 }],
});

const LOOKUP = `
; 10: __u32 key = ctx->ingress_ifindex;
r2 = *(u32 *)(r1 +12)
*(u32 *)(r10 -4) = r2
; 11: value = bpf_map_lookup_elem(&counts, &key);
r2 = r10
r2 += -4
r1 = map[fd:1]
call bpf_map_lookup_elem#1`;

const PACKET = `
; 20: void *data_end = (void *)(long)ctx->data_end;
r3 = *(u32 *)(r1 +4)
; 21: void *data = (void *)(long)ctx->data;
r2 = *(u32 *)(r1 +0)`;

const RETURN = `
; 90: return 0;
r0 = 0
exit`;

const FIRST = `
; 10: __u32 key = 0;
*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map[fd:1]
; 11: value = bpf_map_lookup_elem(&table, &key);
call bpf_map_lookup_elem#1
; 12: if (!value) return 0;
if r0 != 0 goto pc+2
r0 = 0
exit`;

export const MISTAKES: readonly Mistake[] = [
  {
    name: 'value used without a test for NULL',
    type: 'xdp',
    maps: [counts],
    text: `${LOOKUP}
; 12: *value += 1;
r1 = *(u64 *)(r0 +0)${RETURN}`,
    kind: 'null_pointer',
    line: 12,
    why: /R0 is a pointer to a map value, or NULL \(the result of bpf_map_lookup_elem, line 11\)/,
    fix: /if \(!value\)/,
    path: /calls bpf_map_lookup_elem/,
    input: /R0 is NULL at instruction 7/,
    fixed: `${LOOKUP}
; 12: if (!value) return 0;
if r0 == 0 goto pc+1
r1 = *(u64 *)(r0 +0)${RETURN}`,
  },
  {
    name: 'packet read without a bound',
    type: 'xdp',
    text: `${PACKET}
; 22: return *(__u8 *)(data + 40);
r0 = *(u8 *)(r2 +40)
r0 = 0
exit`,
    kind: 'packet_bounds',
    line: 22,
    why: /nothing is proven about how much of the packet lies behind R2; the access needs 41 bytes/,
    fix: /if \(ptr \+ 41 > data_end\)\s+return XDP_PASS;/,
    input: /1 byte past data_end/,
    fixed: `${PACKET}
r4 = r2
r4 += 41
r0 = 0
if r4 > r3 goto pc+1
r0 = *(u8 *)(r2 +40)
r0 = 0
exit`,
  },
  {
    name: 'packet bound one byte short',
    type: 'xdp',
    text: `${PACKET}
; 22: if (data + 33 > data_end) return XDP_PASS;
r4 = r2
r4 += 33
if r4 > r3 goto pc+3
; 23: if (eth->h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
r5 = *(u16 *)(r2 +12)
if r5 != 8 goto pc+1
; 24: x = *(__u16 *)(data + 32);
r0 = *(u16 *)(r2 +32)
; 25: return XDP_PASS;
r0 = 2
exit`,
    kind: 'packet_bounds',
    line: 24,
    why: /only 33 bytes from its start on are proven to lie before data_end; the access needs 34 bytes/,
    fix: /if \(ptr \+ 34 > data_end\)/,
    path: /r4 > r3 is false[\s\S]*r5 != 8 is false/,
    input: /reads 1 byte past data_end \(offset 32 of a packet of 33 bytes\)/,
  },
  {
    name: 'key on the stack not initialised',
    type: 'xdp',
    maps: [counts],
    credentials: { ...BPF_ONLY, capNetAdmin: true },
    text: `
; 10: value = bpf_map_lookup_elem(&counts, &key);
r2 = r10
r2 += -4
r1 = map[fd:1]
call bpf_map_lookup_elem#1${RETURN}`,
    kind: 'stack_uninitialised',
    line: 10,
    why: /at R10 - 4 was not written on this path, and bpf_map_lookup_elem would read it/,
    fix: /__builtin_memset/,
    input: /passes byte 0 of 4 bytes on the stack, and nothing was written there/,
    fixed: `
*(u32 *)(r10 -4) = 0
r2 = r10
r2 += -4
r1 = map[fd:1]
call bpf_map_lookup_elem#1${RETURN}`,
  },
  {
    name: 'no return value',
    type: 'xdp',
    text: `
; 5: }
exit`,
    kind: 'register_unwritten',
    line: 5,
    why: /R0 has no value on this path: nothing was written to it/,
    fix: /return a value on every path/,
    input: /R0 is read, but nothing was written to it/,
    fixed: RETURN,
  },
  {
    name: 'argument used after a call',
    type: 'xdp',
    text: `
; 5: now = bpf_ktime_get_ns();
call bpf_ktime_get_ns#5
; 6: return ctx->data;
r0 = *(u32 *)(r1 +0)
exit`,
    kind: 'register_unwritten',
    line: 6,
    why: /R1 has no value on this path: destroyed by the call of bpf_ktime_get_ns, line 5/,
    fix: /keep the value in R6 to R9/,
    input: /R1 is read, but nothing was written to it/,
  },
  {
    name: 'ring buffer record neither submitted nor discarded',
    type: 'xdp',
    maps: [events],
    text: `
; 30: e = bpf_ringbuf_reserve(&events, 16, 0);
r1 = map[fd:1]
r2 = 16
r3 = 0
call bpf_ringbuf_reserve#131
; 31: if (!e) return 0;
if r0 == 0 goto pc+1
; 32: e->pid = 7;
*(u64 *)(r0 +0) = 7${RETURN}`,
    kind: 'reference_leak',
    line: 90,
    why: /acquired by bpf_ringbuf_reserve, line 30 is still held at the end of this path/,
    fix: /bpf_ringbuf_submit/,
    path: /r0 == 0 is false/,
    input: /while it holds what instruction 4 acquired/,
    fixed: `
r1 = map[fd:1]
r2 = 16
r3 = 0
call bpf_ringbuf_reserve#131
if r0 == 0 goto pc+4
*(u64 *)(r0 +0) = 7
r1 = r0
r2 = 0
call bpf_ringbuf_submit#132${RETURN}`,
  },
  {
    name: 'record released twice',
    type: 'xdp',
    maps: [events],
    text: `
; 30: e = bpf_ringbuf_reserve(&events, 16, 0);
r1 = map[fd:1]
r2 = 16
r3 = 0
call bpf_ringbuf_reserve#131
if r0 == 0 goto pc+7
r6 = r0
; 32: bpf_ringbuf_submit(e, 0);
r1 = r6
r2 = 0
call bpf_ringbuf_submit#132
; 33: bpf_ringbuf_submit(e, 0);
r1 = r6
r2 = 0
call bpf_ringbuf_submit#132${RETURN}`,
    kind: 'argument_type',
    line: 33,
    why: /argument 1 \(R1\) is/,
    fix: /once only: when it is released it becomes a number/,
  },
  {
    name: 'loop without an end',
    type: 'xdp',
    text: `
; 40: do { r = bpf_get_prandom_u32(); } while (1);
call bpf_get_prandom_u32#7
goto pc-2
r0 = 0
exit`,
    kind: 'unreachable_code',
    line: 40,
    why: /no path leads to this instruction/,
    fix: /remove the code/,
  },
  {
    name: 'loop that only chance ends',
    type: 'xdp',
    text: `
; 40: while (bpf_get_prandom_u32() != 7)
call bpf_get_prandom_u32#7
if r0 != 7 goto pc-2${RETURN}`,
    kind: 'endless_loop',
    line: 40,
    why: /ends in the state that it started with/,
    fix: /count the rounds against a constant/,
    input: /has not ended after 1,000,000 instructions/,
  },
  {
    name: 'function of another program type',
    type: 'xdp',
    text: `
; 50: bpf_skb_pull_data(ctx, 0);
r2 = 0
call bpf_skb_pull_data#39${RETURN}`,
    kind: 'function_not_allowed',
    line: 50,
    why: /xdp programs may not call bpf_skb_pull_data/,
    fix: /bpf-helpers\(7\)/,
  },
  {
    name: 'stack too large',
    type: 'xdp',
    text: `
; 60: char buf[600] = {};
*(u64 *)(r10 -600) = 0${RETURN}`,
    kind: 'stack_bounds',
    line: 60,
    why: /starts at byte -600 of the frame, which is the 512 bytes below R10/,
    fix: /per-CPU array map/,
    input: /write of 8 bytes at R10-600/,
  },
  {
    name: 'frames too large together',
    type: 'xdp',
    text: `
; 60: char a[400];
*(u64 *)(r10 -400) = 0
call pc+2${RETURN}
; 70: char b[400];
*(u64 *)(r10 -400) = 0
r0 = 0
exit`,
    kind: 'stack_combined',
    line: 70,
    why: /all frames together have 512 bytes/,
    fix: /per-CPU array map/,
  },
  {
    name: 'address stored where user space can read it',
    type: 'xdp',
    maps: [table],
    credentials: { ...BPF_ONLY, capNetAdmin: true },
    text: `${FIRST}
; 13: *value = (long)&key;
*(u64 *)(r0 +0) = r10${RETURN}`,
    kind: 'pointer_leak',
    line: 13,
    why: /R10 is a pointer to the stack/,
    fix: /store what the pointer points to/,
    input: /the kernel address 0xffff8881[0-9a-f]+ gets into a map/,
  },
  {
    name: 'misaligned stack access',
    type: 'xdp',
    text: `
; 60: *(__u64 *)(buf + 1) = 0;
*(u64 *)(r10 -12) = 0${RETURN}`,
    kind: 'misaligned',
    line: 60,
    why: /the access of 8 bytes is at offset -12, which is no multiple of its size/,
    fix: /align the field/,
    input: /accesses 8 bytes at 0xffff8881/,
    fixed: `
*(u64 *)(r10 -16) = 0${RETURN}`,
  },
  {
    name: 'field that the context does not have',
    type: 'xdp',
    text: `
; 70: return ctx->len;
r0 = *(u32 *)(r1 +112)
exit`,
    kind: 'context_access',
    line: 70,
    why: /a xdp program has nothing at bytes 112 to 115 of struct xdp_md/,
    fix: /data, data_end/,
  },
  {
    name: 'field of the context read with another size',
    type: 'xdp',
    text: `
; 70: return *(__u64 *)&ctx->data;
r0 = *(u64 *)(r1 +0)
exit`,
    kind: 'context_access',
    line: 70,
    why: /data of struct xdp_md lies at byte 0 and has 4 bytes; the access takes 8 bytes at 0/,
    fix: /data, data_end/,
  },
  {
    name: 'helper called while a lock is held',
    type: 'xdp',
    maps: [locked],
    text: `${FIRST}
r6 = r0
; 13: bpf_spin_lock(&value->lock);
r1 = r6
call bpf_spin_lock#93
; 14: now = bpf_ktime_get_ns();
call bpf_ktime_get_ns#5
; 15: bpf_spin_unlock(&value->lock);
r1 = r6
call bpf_spin_unlock#94${RETURN}`,
    kind: 'lock_held',
    line: 14,
    why: /bpf_spin_lock is held, and bpf_ktime_get_ns may not be called then/,
    fix: /unlock first/,
    fixed: `${FIRST}
r6 = r0
call bpf_ktime_get_ns#5
r1 = r6
call bpf_spin_lock#93
r1 = r6
call bpf_spin_unlock#94${RETURN}`,
  },
  {
    name: 'lock not released',
    type: 'xdp',
    maps: [locked],
    text: `${FIRST}
; 13: bpf_spin_lock(&value->lock);
r1 = r0
call bpf_spin_lock#93${RETURN}`,
    kind: 'lock_held',
    line: 90,
    why: /bpf_spin_lock is still held when the program returns/,
    fix: /bpf_spin_unlock/,
  },
  {
    name: 'lock read like a number',
    type: 'xdp',
    maps: [locked],
    text: `${FIRST}
; 13: return value->lock;
r0 = *(u32 *)(r0 +0)
exit`,
    kind: 'special_field',
    line: 13,
    why: /touches the bpf_spin_lock in the value of locked/,
    fix: /use the helpers for bpf_spin_lock/,
  },
  {
    name: 'dynptr used before it is made',
    type: 'xdp',
    text: `
; 80: bpf_dynptr_read(buf, 8, &ptr, 0, 0);
r1 = r10
r1 += -8
r2 = 8
r3 = r10
r3 += -24
r4 = 0
r5 = 0
call bpf_dynptr_read#201${RETURN}`,
    kind: 'dynptr_uninitialised',
    line: 80,
    why: /argument 3 \(R3\) is no dynptr that was initialised/,
    fix: /bpf_dynptr_from_mem/,
  },
  {
    name: 'index from the packet without a bound',
    type: 'xdp',
    maps: [table],
    text: `
; 9: r6 = ctx;
r6 = r1${FIRST}
; 13: if (data + 14 > data_end) return 0;
r3 = *(u32 *)(r6 +4)
r2 = *(u32 *)(r6 +0)
r4 = r2
r4 += 14
if r4 > r3 goto pc+3
; 14: i = *(__u8 *)(data + 13);
r5 = *(u8 *)(r2 +13)
; 15: return value->slots[i];
r0 += r5
r0 = *(u8 *)(r0 +0)${RETURN}`,
    kind: 'region_bounds',
    line: 15,
    why: /the map value of table has 64 bytes; the access takes 1 byte from byte 0 plus a number that is 0 to 255/,
    fix: /if \(i >= 64\)/,
    input: /read of 1 byte at R0\+0 .*outside of/,
    fixed: `
r6 = r1${FIRST}
r3 = *(u32 *)(r6 +4)
r2 = *(u32 *)(r6 +0)
r4 = r2
r4 += 14
if r4 > r3 goto pc+4
r5 = *(u8 *)(r2 +13)
if r5 >= 64 goto pc+2
r0 += r5
r0 = *(u8 *)(r0 +0)${RETURN}`,
  },
  {
    name: 'index that may be negative',
    type: 'xdp',
    maps: [table],
    text: `
; 9: r6 = ctx;
r6 = r1${FIRST}
; 13: if (i > 63) return 0;
r5 = *(u32 *)(r6 +16)
r5 = (s8)r5
if r5 s> 63 goto pc+2
; 15: return value->slots[i];
r0 += r5
r0 = *(u8 *)(r0 +0)${RETURN}`,
    kind: 'negative_offset',
    line: 15,
    why: /the offset of R0 is -128 to 63/,
    fix: /unsigned/,
  },
  {
    name: 'function that sleeps where nothing may sleep',
    type: 'kprobe',
    text: `
; 80: bpf_copy_from_user(buf, 8, ptr);
r3 = 0
r2 = 8
r1 = r10
r1 += -8
call bpf_copy_from_user#148${RETURN}`,
    kind: 'function_sleeps',
    line: 80,
    why: /bpf_copy_from_user may sleep/,
    fix: /SEC\("fentry\.s/,
  },
  {
    name: 'pointer plus pointer',
    type: 'xdp',
    text: `${PACKET}
; 22: x = data + data_end;
r2 += r3${RETURN}`,
    kind: 'pointer_operator',
    line: 22,
    why: /both operands of “\+?[^”]*” are pointers/,
    fix: /compute the offset as a number first/,
  },
  {
    name: 'number used as a pointer',
    type: 'kprobe',
    text: `
; 80: return task->pid;
r2 = *(u64 *)(r1 +112)
r0 = *(u32 *)(r2 +8)
exit`,
    kind: 'not_a_pointer',
    line: 80,
    why: /R2 is a number \(read from memory, line 80\), not a pointer/,
    fix: /bpf_probe_read_kernel/,
    input: /read of 4 bytes at R2\+8/,
  },
  {
    name: 'wrong return value',
    type: 'cgroup_sock',
    text: `
; 80: return 2;
r0 = 2
exit`,
    kind: 'return_range',
    line: 80,
    why: /R0 is 2/,
    fix: /return one of the values that are allowed/,
    fixed: `
r0 = 1
exit`,
  },
  {
    name: 'licence that is not the GPL',
    type: 'kprobe',
    gpl: false,
    text: `
; 80: bpf_probe_read_kernel(buf, 8, ptr);
r3 = 0
r2 = 8
r1 = r10
r1 += -8
call bpf_probe_read_kernel#113${RETURN}`,
    kind: 'licence',
    line: 80,
    why: /bpf_probe_read_kernel is for GPL-compatible programs only/,
    fix: /char LICENSE\[\]/,
  },
  {
    name: 'size that may be negative',
    type: 'kprobe',
    text: `
; 79: n = (int)ctx->di;
r2 = *(u64 *)(r1 +112)
r2 = (s32)r2
; 80: bpf_probe_read_kernel(buf, n, ptr);
if r2 s> 8 goto pc+4
r3 = 0
r1 = r10
r1 += -8
call bpf_probe_read_kernel#113${RETURN}`,
    kind: 'argument_negative_size',
    line: 80,
    why: /the size in R2 is/,
    fix: /unsigned/,
    input: /R2, the size, is -\d+/,
  },
  {
    name: 'value in place of an address',
    type: 'xdp',
    maps: [counts],
    text: `
; 10: value = bpf_map_lookup_elem(&counts, 5);
r2 = 5
r1 = map[fd:1]
call bpf_map_lookup_elem#1${RETURN}`,
    kind: 'argument_type',
    line: 10,
    why: /argument 2 \(R2\) is a number/,
    fix: /pass the address of a variable/,
  },
  {
    name: 'write to a constant',
    type: 'xdp',
    maps: [constants],
    text: `
; 10: limit = 5;
r1 = map[fd:1][0]+0
*(u64 *)(r1 +0) = 5${RETURN}`,
    kind: 'read_only',
    line: 10,
    why: /map \.rodata was made with BPF_F_RDONLY_PROG/,
    fix: /non-const/,
  },
  {
    name: '32-bit arithmetic on a pointer',
    type: 'xdp',
    text: `${PACKET}
; 22: data = (void *)((int)data + 4);
w2 += 4
r0 = *(u8 *)(r2 +0)${RETURN}`,
    kind: 'pointer_32bit',
    line: 22,
    why: /a 32-bit operation would cut it/,
    fix: /64|long/,
  },
  {
    name: 'frame pointer changed',
    type: 'xdp',
    text: `
; 10: asm("r10 += 8");
r10 += 8${RETURN}`,
    kind: 'frame_pointer_written',
    line: 10,
    why: /R10 points to the stack and cannot be changed/,
    fix: /copy R10/,
  },
  {
    name: 'loop without CAP_BPF',
    type: 'socket_filter',
    credentials: NOBODY,
    text: `
; 40: for (i = 0; i < 4; i++)
r1 = 0
r1 += 1
if r1 < 4 goto pc-2${RETURN}`,
    kind: 'back_edge',
    line: 40,
    why: /without CAP_BPF may not have loops/,
    fix: /unroll/,
  },
  {
    name: 'end of the program without a return',
    type: 'xdp',
    text: `
; 40: x = 1;
r0 = 1`,
    kind: 'falls_off_end',
    line: 40,
    why: /neither exit nor a jump/,
    fix: /return a value/,
  },
  {
    name: 'division by zero',
    type: 'xdp',
    text: `
; 40: x /= 0;
r0 = 1
r0 /= 0
exit`,
    kind: 'division_by_zero',
    line: 40,
    why: /the divisor is the constant 0/,
    fix: /constant/,
  },
  {
    name: 'packet changed by a program that may not',
    type: 'cgroup_skb',
    text: `
; 20: data = ctx->data;
r3 = *(u32 *)(r1 +80)
r2 = *(u32 *)(r1 +76)
r4 = r2
r4 += 14
if r4 > r3 goto pc+1
; 22: *(char *)data = 0;
*(u8 *)(r2 +0) = 0${RETURN}`,
    kind: 'packet_read_only',
    line: 22,
    why: /cgroup_skb programs may not write to packets/,
    fix: /bpf_skb_store_bytes/,
  },
  {
    name: 'record of a size that is not constant',
    type: 'xdp',
    maps: [events],
    text: `
; 30: e = bpf_ringbuf_reserve(&events, ctx->rx_queue_index, 0);
r2 = *(u32 *)(r1 +16)
r1 = map[fd:1]
r3 = 0
call bpf_ringbuf_reserve#131${RETURN}`,
    kind: 'argument_constant',
    line: 30,
    why: /argument 2 \(R2\) is 0 to 4294967295/,
    fix: /pass a constant/,
  },
  {
    name: 'record submitted without a test for NULL',
    type: 'xdp',
    maps: [events],
    text: `
; 30: e = bpf_ringbuf_reserve(&events, 16, 0);
r1 = map[fd:1]
r2 = 16
r3 = 0
call bpf_ringbuf_reserve#131
; 31: bpf_ringbuf_submit(e, 0);
r1 = r0
r2 = 0
call bpf_ringbuf_submit#132${RETURN}`,
    kind: 'argument_type',
    line: 31,
    why: /argument 1 \(R1\) is a pointer to memory \(a ring buffer record\), or NULL/,
    fix: /test the pointer for NULL/,
  },
  {
    name: 'second lock while one is held',
    type: 'xdp',
    maps: [locked],
    text: `${FIRST}
r6 = r0
; 13: bpf_spin_lock(&value->lock);
r1 = r6
call bpf_spin_lock#93
; 14: bpf_spin_lock(&value->lock);
r1 = r6
call bpf_spin_lock#93${RETURN}`,
    kind: 'lock_held',
    line: 14,
    why: /bpf_spin_lock is held/,
    fix: /unlock first/,
  },
  {
    name: 'context pointer moved before the access',
    type: 'xdp',
    text: `
; 70: p = (char *)ctx + 8;
r1 += 8
; 71: return *(__u32 *)(p + 4);
r0 = *(u32 *)(r1 +4)
r0 = 2
exit`,
    kind: 'modified_pointer',
    line: 71,
    why: /R1 is the context plus 8; this use needs the pointer as it was given/,
    fix: /ctx->field/,
    fixed: `
r0 = *(u32 *)(r1 +12)
r0 = 2
exit`,
  },
  {
    name: 'size without a bound',
    type: 'kprobe',
    text: `
; 80: bpf_probe_read_kernel(buf, ctx->di, ptr);
r2 = *(u64 *)(r1 +112)
r2 &= 0x7fffffff
r3 = 0
r1 = r10
r1 += -8
call bpf_probe_read_kernel#113${RETURN}`,
    kind: 'argument_unbounded_size',
    line: 80,
    why: /the size in R2 is 0 to 2147483647/,
    fix: /bound the size just before the call/,
    input: /bpf_probe_read_kernel#113: write of \d+ bytes at R1/,
    fixed: `
r2 = *(u64 *)(r1 +112)
r2 &= 7
r3 = 0
r1 = r10
r1 += -8
call bpf_probe_read_kernel#113${RETURN}`,
  },
  {
    name: 'tail call through a map of another type',
    type: 'xdp',
    maps: [table],
    text: `
; 80: bpf_tail_call(ctx, &table, 0);
r2 = map[fd:1]
r3 = 0
call bpf_tail_call#12${RETURN}`,
    kind: 'argument_map',
    line: 80,
    why: /bpf_tail_call does not work on map table/,
    fix: /another map type/,
  },
  {
    name: 'program loaded as one that sleeps, where nothing may',
    type: 'xdp',
    flags: 1 << 4,
    text: RETURN,
    kind: 'program_sleeps',
    line: null,
    why: /xdp programs with this attach type run where nothing may sleep/,
    fix: /load it without BPF_F_SLEEPABLE/,
  },
  {
    name: 'LSM program without a hook',
    type: 'lsm',
    attachType: 27,
    text: RETURN,
    kind: 'attach_target',
    line: null,
    why: /none is given/,
    fix: /name what to attach to in the section/,
  },
];
