/** `tsbpf verify --attach-to FILE[:PROGRAM]`: the program whose functions freplace, fentry and fexit programs are for. */
import type { Kernel } from '../../contracts/kernel.ts';
import type { BpfObject, BpfProgram } from '../../libbpf/index.ts';
import { BpfError } from '../../util/errors.ts';
import { openSourceOrObject } from '../compiler/source-or-object.ts';
import type { LoadRequest } from '../load.ts';
import type { Output } from '../output.ts';

/** A path may have colons; a name has none, nor slashes. */
const NAMED = /^(.+):([^:/]+)$/;

/** What has to be done in the kernel before `object` is loaded: the target is loaded, and its functions are found by name. */
export async function attachTo(
  text: string,
  object: BpfObject,
  out: Output,
  cflags: string | undefined,
): Promise<(kernel: Kernel, request: Omit<LoadRequest, 'kernel' | 'engine'>) => void> {
  const [, path = text, name] = NAMED.exec(text) ?? [];
  const target = await openSourceOrObject(path, out, cflags);
  const program = name === undefined ? target.programs[0] : target.findProgram(name);
  if (program === undefined) throw new BpfError('ENOENT', `${path} has no programs`);
  for (const one of target.programs) one.autoload = one === program;
  return (kernel, { kernelBtf, kconfig }) => {
    target.load(kernel, {
      ...(kernelBtf === undefined ? {} : { kernelBtf }),
      ...(kconfig === undefined ? {} : { kconfig }),
    });
    for (const one of object.programs) if (attaches(one, target)) setTarget(one, program);
  };
}

/** freplace always, tracing programs where the target has the function. */
function attaches({ spec }: BpfProgram, target: BpfObject): boolean {
  if (spec.sectionRow?.attach === 'freplace') return true;
  const traces = spec.sectionRow?.attachBtf === true && spec.sectionRow.attach === 'trace';
  return traces && spec.attachTo !== undefined && target.spec.btf?.find(spec.attachTo, 'func') !== undefined;
}

function setTarget(program: BpfProgram, target: BpfProgram): void {
  const name = program.spec.attachTo;
  if (name === undefined || name === '') {
    throw new BpfError(
      'EINVAL',
      `program '${program.name}': section '${program.spec.section}' does not say which function it is for`,
    );
  }
  program.attachTarget = { name, program: target };
}
