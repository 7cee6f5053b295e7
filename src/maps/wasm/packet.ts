// Copies between a packet and memory of the program. The edges of a packet stand at the start of its context, as guest
// addresses whose low half is the offset (MODELLED_SKB, MODELLED_XDP of src/spec).
import { copy, EFAULT, EINVAL, inMemory, zero } from './common';

const DATA: usize = 0;
const DATA_END: usize = 8;
const S32_MAX: u32 = 0x7fffffff;
// Largest offset that an access to a frame may have (net/core/filter.c: bpf_xdp_load_bytes).
const XDP_MAX_OFFSET: u32 = 0xffff;

// Where `size` bytes at `offset` of the packet lie; 0: not in the packet.
@inline
function locate(ctx: usize, offset: u32, size: u32): usize {
  const start = load<u32>(ctx + DATA);
  const length = load<u32>(ctx + DATA_END) - start;
  return offset <= S32_MAX && <u64>offset + <u64>size <= <u64>length ? start + offset : 0;
}

@inline
function xdpRefusal(offset: u32): i32 {
  return offset > XDP_MAX_OFFSET ? EFAULT : EINVAL;
}

// A range that is not in the packet zeroes the destination.
export function skb_load_bytes(ctx: usize, offset: u32, to: usize, size: u32): i32 {
  if (!inMemory(ctx, 16) || !inMemory(to, size)) return EFAULT;
  const at = locate(ctx, offset, size);
  if (at == 0) {
    zero(to, size);
    return EFAULT;
  }
  copy(to, at, size);
  return 0;
}

export function xdp_load_bytes(ctx: usize, offset: u32, to: usize, size: u32): i32 {
  if (!inMemory(ctx, 16) || !inMemory(to, size)) return EFAULT;
  const at = locate(ctx, offset, size);
  if (at == 0) return xdpRefusal(offset);
  copy(to, at, size);
  return 0;
}

export function xdp_store_bytes(ctx: usize, offset: u32, from: usize, size: u32): i32 {
  if (!inMemory(ctx, 16) || !inMemory(from, size)) return EFAULT;
  const at = locate(ctx, offset, size);
  if (at == 0) return xdpRefusal(offset);
  copy(at, from, size);
  return 0;
}

// Bits of the flags that skb_store_bytes knows: BPF_F_RECOMPUTE_CSUM, BPF_F_INVALIDATE_HASH. Packets here carry neither.
const STORE_FLAGS: u32 = 3;

export function skb_store_bytes(ctx: usize, offset: u32, from: usize, size: u32, flags: u32, high: u32): i32 {
  if (high != 0 || (flags & ~STORE_FLAGS) != 0) return EINVAL;
  if (!inMemory(ctx, 16) || !inMemory(from, size)) return EFAULT;
  const at = locate(ctx, offset, size);
  if (at == 0) return EFAULT;
  copy(at, from, size);
  return 0;
}
