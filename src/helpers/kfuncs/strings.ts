/** Strings in the kernel's memory (maps/wasm/strings.ts): elsewhere -ERANGE, unreadable memory -EFAULT, no end in 64 KiB -E2BIG. */
import { type KfuncFamily, kfn } from './types.ts';

export const STRING_KFUNCS: KfuncFamily = {
  bpf_strcmp: kfn('qq', 's32', ({ module }) => module.wasm.strcmp),
  bpf_strcasecmp: kfn('qq', 's32', ({ module }) => module.wasm.strcasecmp),
  bpf_strnchr: kfn('qqp', 's32', ({ module }) => module.wasm.strnchr),
  bpf_strchr: kfn('qp', 's32', ({ module }) => module.wasm.strchr),
  bpf_strchrnul: kfn('qp', 's32', ({ module }) => module.wasm.strchrnul),
  bpf_strrchr: kfn('qp', 's32', ({ module }) => module.wasm.strrchr),
  bpf_strnlen: kfn('qq', 's32', ({ module }) => module.wasm.strnlen),
  bpf_strlen: kfn('q', 's32', ({ module }) => module.wasm.strlen),
  bpf_strspn: kfn('qq', 's32', ({ module }) => module.wasm.strspn),
  bpf_strcspn: kfn('qq', 's32', ({ module }) => module.wasm.strcspn),
  bpf_strstr: kfn('qq', 's32', ({ module }) => module.wasm.strstr),
  bpf_strnstr: kfn('qqq', 's32', ({ module }) => module.wasm.strnstr),
};
