/** uprobe and uretprobe: `binary:function+offset` or `binary:offset` in an executable or shared library. */
import type { Kernel } from '../../contracts/kernel.ts';
import { BpfError } from '../../util/errors.ts';
import type { BpfLink } from '../link.ts';
import { Executable } from '../symbols/executable.ts';
import { byTarget, machineFiles, onPerfEvent, parseOffset, targetOf } from './support.ts';
import type { Attachable, AttachOptions, AttachRow } from './types.ts';

export const UPROBE: AttachRow = {
  ready: byTarget,
  attach: (kernel, program, options) => attachUprobe(kernel, program, options, false),
};

export const URETPROBE: AttachRow = {
  ready: byTarget,
  attach: (kernel, program, options) => attachUprobe(kernel, program, options, true),
};

/** `binary:rest`; a binary has no colon in its name (as in libbpf). */
export function splitBinary(target: string, expected: string): [binary: string, rest: string] {
  const at = target.indexOf(':');
  if (at > 0 && at < target.length - 1) return [target.slice(0, at), target.slice(at + 1)];
  throw new BpfError('EINVAL', `'${target}' does not say binary and place`, { hint: `expected ${expected}` });
}

/** Path of a binary that is named by path or by name alone. */
export function binaryPath(kernel: Kernel, name: string, pid: number | undefined): string {
  if (name.includes('/')) return name;
  const path = machineFiles(kernel, name).resolveExecutable(name, pid);
  if (path !== null) return path;
  throw new BpfError('ENOENT', `there is no program or library '${name}'`, {
    hint: 'give its path',
  });
}

export function openExecutable(kernel: Kernel, path: string): Executable {
  const bytes = machineFiles(kernel, path).read(path);
  if (bytes === null) throw new BpfError('ENOENT', `there is no file ${path}`);
  return new Executable(path, bytes);
}

function attachUprobe(
  kernel: Kernel,
  program: Attachable,
  options: AttachOptions,
  retprobe: boolean,
): BpfLink {
  const target = targetOf(program, options, 'binary and function');
  const { pid, cookie, refCtrOffset } = options;
  const [binary, place] = splitBinary(target, 'binary:function+offset or binary:offset');
  const path = binaryPath(kernel, binary, pid);
  const offset = placeOffset(kernel, path, place, retprobe);
  return onPerfEvent(
    kernel,
    program,
    cookie,
    {
      kind: 'uprobe',
      path,
      offset,
      retprobe,
      ...(pid === undefined ? {} : { pid }),
      ...(refCtrOffset === undefined ? {} : { refCtrOffset }),
    },
    `${retprobe ? 'uretprobe' : 'uprobe'} ${target}`,
  );
}

/** A number is an offset in the file; a name may have an offset in its function behind it. */
function placeOffset(kernel: Kernel, path: string, place: string, retprobe: boolean): bigint {
  if (/^\d/.test(place)) return parseOffset(place, place);
  const plus = place.lastIndexOf('+');
  if (plus <= 0) return BigInt(openExecutable(kernel, path).functionOffset(place));
  if (retprobe)
    throw new BpfError(
      'EINVAL',
      `a uretprobe fires when '${place.slice(0, plus)}' returns: it takes no offset`,
    );
  const start = openExecutable(kernel, path).functionOffset(place.slice(0, plus));
  return BigInt(start) + parseOffset(place.slice(plus + 1), place);
}
