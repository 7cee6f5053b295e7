/** Multi-uprobes (Linux 6.6): one link on all functions of a binary that a pattern names (`binary:pattern`). */
import type { Kernel } from '../../contracts/kernel.ts';
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';
import { BpfError } from '../../util/errors.ts';
import { BpfLink } from '../link.ts';
import { targetOf } from './support.ts';
import type { AttachOptions, AttachRow } from './types.ts';
import { binaryPath, openExecutable, splitBinary } from './uprobe.ts';

/** BPF_F_UPROBE_MULTI_RETURN */
const RETURN = 1;

function multi(what: string, attachType: number, flags: number): AttachRow {
  return {
    ready: (_options, target) => Boolean(target),
    attach(kernel, program, options) {
      const target = targetOf(program, options, 'binary and functions');
      const { path, offsets } = places(kernel, target, options);
      const { cookies, refCtrOffsets, pid } = options;
      const fd = kernel.linkCreate({
        progFd: program.fd,
        attachType,
        uprobeMulti: {
          path,
          offsets,
          flags,
          ...(cookies === undefined ? {} : { cookies }),
          ...(refCtrOffsets === undefined ? {} : { refCtrOffsets }),
          ...(pid === undefined ? {} : { pid }),
        },
      });
      return new BpfLink(kernel, fd, `${what} ${target}`);
    },
  };
}

export const UPROBE_MULTI = multi('multi-uprobe', BPF_ATTACH_TYPE.BPF_TRACE_UPROBE_MULTI, 0);
export const URETPROBE_MULTI = multi('multi-uretprobe', BPF_ATTACH_TYPE.BPF_TRACE_UPROBE_MULTI, RETURN);
export const UPROBE_SESSION = multi('uprobe session', BPF_ATTACH_TYPE.BPF_TRACE_UPROBE_SESSION, 0);

/** `target` is `binary:pattern`; with `symbols` or `offsets` in the options the binary alone will do. */
function places(
  kernel: Kernel,
  target: string,
  options: AttachOptions,
): { readonly path: string; readonly offsets: readonly bigint[] } {
  const { symbols, offsets, pid } = options;
  if (symbols !== undefined && offsets !== undefined)
    throw new BpfError('EINVAL', `a multi-uprobe takes 'symbols' or 'offsets', not both`);
  if (symbols === undefined && offsets === undefined) {
    const [binary, pattern] = splitBinary(target, 'binary:pattern');
    const path = binaryPath(kernel, binary, pid);
    const found = openExecutable(kernel, path).matching(pattern);
    if (found.length === 0) throw new BpfError('ENOENT', `${path} has no function that matches '${pattern}'`);
    return { path, offsets: found.map(({ offset }) => BigInt(offset)) };
  }
  const path = binaryPath(kernel, target.split(':', 1)[0], pid);
  if (offsets !== undefined) return { path, offsets };
  const executable = openExecutable(kernel, path);
  return { path, offsets: (symbols ?? []).map((name) => BigInt(executable.functionOffset(name))) };
}
