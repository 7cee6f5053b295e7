/** Open-coded iterators over numbers and over bits of memory. */
import { KERNEL_HI } from '../../memory/index.ts';
import { ERRNO } from '../../util/errno.ts';
import { hold, letGo } from './held.ts';
import { allocateObject } from './object-memory.ts';
import { type KfuncFamily, kfn } from './types.ts';

/** BPF_MAX_LOOPS. */
const MAX_NUMBERS = 8 * 1024 * 1024;
/** BITS_ITER_NR_WORDS_MAX */
const MAX_WORDS = 511;

/** `struct bpf_iter_num` on the stack: the current number and the end, both s32. */
export const ITER_KFUNCS: KfuncFamily = {
  bpf_iter_num_new: kfn('ppp', 's32', ({ memory, valid }) => (it, start, end) => {
    if (!valid(it, 8)) return -ERRNO.EFAULT;
    const { view } = memory;
    const fail = (errno: number): number => {
      view.setInt32(it, 0, true);
      view.setInt32(it + 4, 0, true);
      return -errno;
    };
    if (start > end) return fail(ERRNO.EINVAL);
    if (end - start > MAX_NUMBERS) return fail(ERRNO.E2BIG);
    // The first step goes to `start`.
    view.setInt32(it, start - 1, true);
    view.setInt32(it + 4, end, true);
    return 0;
  }),
  bpf_iter_num_next: kfn('p', 'ptr', ({ memory, valid }) => (it) => {
    if (!valid(it, 8)) return 0;
    const { view } = memory;
    const next = view.getInt32(it, true) + 1;
    if (next >= view.getInt32(it + 4, true)) {
      view.setInt32(it, 0, true);
      view.setInt32(it + 4, 0, true);
      return 0;
    }
    view.setInt32(it, next, true);
    return it;
  }),
  bpf_iter_num_destroy: kfn('p', 'void', ({ memory, valid }) => (it) => {
    if (valid(it, 8)) memory.writeHalves(it, 0, 0);
  }),
  /** `struct bpf_iter_bits`: u64 copy of the bits or their address, u32 nr_bits (31 bits), s32 bit. */
  bpf_iter_bits_new: kfn('pqp', 's32', (ctx) => (it, source, high, words) => {
    const { memory, valid } = ctx;
    if (!valid(it, 16)) return -ERRNO.EFAULT;
    const { view } = memory;
    memory.writeHalves(it, 0, 0);
    memory.writeHalves(it + 8, 0, -1);
    if ((source | high) === 0 || words === 0) return -ERRNO.EINVAL;
    if (words >>> 0 > MAX_WORDS) return -ERRNO.E2BIG;
    const bytes = words * 8;
    if (high >>> 0 !== KERNEL_HI >>> 0 || !valid(source, bytes)) return -ERRNO.EFAULT;
    let to = it;
    if (words > 1) {
      to = hold(ctx, allocateObject(ctx, bytes, 'bpf_iter_bits'));
      if (to === 0) return -ERRNO.ENOMEM;
      memory.writeHalves(it, to, 0);
    }
    memory.u8.copyWithin(to, source, source + bytes);
    view.setUint32(it + 8, words * 64, true);
    return 0;
  }),
  bpf_iter_bits_next: kfn('p', 'ptr', ({ memory, valid }) => (it) => {
    if (!valid(it, 16)) return 0;
    const { view } = memory;
    const count = view.getUint32(it + 8, true);
    const at = count > 64 ? view.getUint32(it, true) : it;
    for (let bit = view.getInt32(it + 12, true) + 1; bit < count; bit++) {
      if ((view.getUint8(at + (bit >> 3)) & (1 << (bit & 7))) === 0) continue;
      view.setInt32(it + 12, bit, true);
      return it + 12;
    }
    view.setInt32(it + 12, count, true);
    return 0;
  }),
  bpf_iter_bits_destroy: kfn('p', 'void', (ctx) => (it) => {
    const { memory } = ctx;
    if (!ctx.valid(it, 16)) return;
    if (memory.view.getUint32(it + 8, true) > 64) {
      const bits = memory.view.getUint32(it, true);
      letGo(ctx, bits);
      memory.free(bits);
    }
    memory.writeHalves(it + 8, 0, 0);
  }),
};
