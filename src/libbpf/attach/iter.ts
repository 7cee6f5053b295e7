/**
 * Iterators: programs that the kernel runs for each task, map, element, …; what they write is read from a descriptor
 * (Documentation/bpf/bpf_iterators.rst, union bpf_iter_link_info).
 */
import type { Fd, Kernel } from '../../contracts/kernel.ts';
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { BpfLink } from '../link.ts';
import { byTarget, withDescriptor } from './support.ts';
import type { AttachRow, HasFd, IterOptions } from './types.ts';

/** enum bpf_cgroup_iter_order */
const ORDERS = { self_only: 1, descendants_pre: 2, descendants_post: 3, ancestors_up: 4 } as const;

export const ITER: AttachRow = {
  ready: byTarget,
  attach(kernel, program, options) {
    const create = (info: readonly number[] | undefined): BpfLink => {
      const fd = kernel.linkCreate({
        progFd: program.fd,
        attachType: BPF_ATTACH_TYPE.BPF_TRACE_ITER,
        ...(info === undefined ? {} : { iterInfo: words(info) }),
      });
      return new BpfLink(kernel, fd, `iterator ${program.attachTo ?? ''}`.trim());
    };
    const { iter } = options;
    if (iter?.cgroup === undefined) return create(linkInfo(iter));
    const order = ORDERS[iter.order ?? 'descendants_pre'];
    // order, cgroup_fd, cgroup_id (low, high)
    return withDescriptor(kernel, iter.cgroup, 'cgroup', (fd) => create([order, fd, 0, 0]));
  },
};

/** The words of `union bpf_iter_link_info`: no more than is needed, as older kernels know less of it. */
function linkInfo(iter: IterOptions | undefined): readonly number[] | undefined {
  if (iter?.map !== undefined) return [iter.map.fd];
  // tid, pid, pid_fd
  if (iter?.tid !== undefined || iter?.pid !== undefined) return [iter.tid ?? 0, iter.pid ?? 0, 0];
  return undefined;
}

function words(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => {
    view.setUint32(4 * index, value, true);
  });
  return bytes;
}

const CHUNK = 64 * 1024;
/** What a program writes is not bounded by the kernel; more than this is a program that never ends. */
const MAX_OUTPUT = 1 << 30;

/** One run of an iterator, in pieces as the kernel gives them: ITER_CREATE on the link, or on a pinned one, then read(2). */
export function* readIterator(kernel: Kernel, link: HasFd): Generator<Uint8Array> {
  if (kernel.readFd === undefined)
    throw new BpfError('EOPNOTSUPP', `the ${kernel.features().kind} kernel has no iterators to read`);
  const fd: Fd = kernel.iterCreate({ linkFd: link.fd });
  try {
    for (let total = 0; total < MAX_OUTPUT; ) {
      const chunk = kernel.readFd(fd, CHUNK);
      if (chunk.length === 0) return;
      total += chunk.length;
      yield chunk;
    }
    throw new BpfError('EFBIG', `the iterator has written more than ${MAX_OUTPUT} bytes`);
  } finally {
    kernel.close(fd);
  }
}

/** One run of an iterator: all that it wrote, as text. */
export function iteratorText(kernel: Kernel, link: HasFd): string {
  const chunks = [...readIterator(kernel, link)];
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return fromUtf8(all);
}
