/**
 * What a kernel of some release does not have, by the releases in the tables: the one place that turns a refusal (EINVAL, E2BIG,
 * "unknown func") into the name of what is missing and the release that has it.
 */
import {
  type AttachTypeRow,
  attachTypeById,
  commandByName,
  helperById,
  mapTypeById,
  progTypeById,
  type Release,
  releaseOf,
} from '../spec/index.ts';
import { type AttrField, attrRow, type BpfCommand } from './attr.ts';
import { isOlder } from './release.ts';

export interface Lacking {
  /** `map type ringbuf`, `BPF_LINK_CREATE with link_create.tcx.relative_fd` */
  readonly what: string;
  /** First release that has it. */
  readonly since: string;
}

/** Numbers, addresses and names of a command's attributes, by the keys of `attr.ts`. */
type Values = Readonly<Record<string, number | bigint | string | undefined>>;

/** The first thing that a command asks for and that a kernel of `release` does not have; undefined: it has everything. */
export function lackingOf(release: string, command: BpfCommand, values: Values): Lacking | undefined {
  const since = commandByName(command)?.since;
  if (since !== undefined && isOlder(release, since)) return { what: command, since };
  const number = (key: string) => Number(values[key] ?? 0);
  const known = releaseRow(release);
  const mapType = values.mapType === undefined ? undefined : mapTypeById(number('mapType'));
  const progType = values.progType === undefined ? undefined : progTypeById(number('progType'));
  const attachType = values.attachType === undefined ? undefined : attachTypeById(number('attachType'));
  return (
    (mapType && known?.mapNeeds(mapType, number('mapFlags'))) ??
    (progType &&
      known?.loadNeeds({
        progType,
        expectedAttachType: number('expectedAttachType'),
        flags: number('progFlags'),
      })) ??
    (attachType && lackingAttachType(release, command, attachType)) ??
    lackingField(release, command, values)
  );
}

function lackingAttachType(release: string, command: BpfCommand, row: AttachTypeRow): Lacking | undefined {
  if (isOlder(release, row.since)) return { what: `attach type ${row.name}`, since: row.since };
  return command === 'BPF_LINK_CREATE' && isOlder(release, row.linkSince)
    ? { what: `a link of attach type ${row.name}`, since: row.linkSince }
    : undefined;
}

function lackingField(release: string, command: BpfCommand, values: Values): Lacking | undefined {
  for (const [key, field] of attrRow(command).fields) {
    if (values[key] && isTooNew(release, field))
      return { what: `${command} with ${field.layout.name}`, since: field.since! };
  }
  return undefined;
}

/** What the tables say of a release; undefined for a name that is none. */
function releaseRow(release: string): Release | undefined {
  return /^\d+\.\d+/.test(release) ? releaseOf(/^\d+\.\d+/.exec(release)![0]) : undefined;
}

export function isTooNew(release: string, field: AttrField): boolean {
  return field.since !== undefined && isOlder(release, field.since);
}

const CALL = 0x85;
const INSN_SIZE = 8;

/** A program as it was handed to PROG_LOAD. */
interface LoadedProgram {
  readonly progType: number;
  readonly expectedAttachType?: number;
  readonly insns: Uint8Array;
}

/**
 * What the instruction at which a kernel of `release` refused a program needs: the form of the instruction, or the helper that it calls.
 * Where the kernel names none (-1), the first form that it does not know.
 */
export function lackingInsn(release: string, program: LoadedProgram, insn: number): Lacking | undefined {
  const known = releaseRow(release);
  const { insns } = program;
  const count = Math.floor(insns.length / INSN_SIZE);
  if (known === undefined || insn >= count) return undefined;
  const view = new DataView(insns.buffer, insns.byteOffset, insns.byteLength);
  const at = (index: number) => ({
    code: view.getUint8(index * INSN_SIZE),
    src: view.getUint8(index * INSN_SIZE + 1) >> 4,
    off: view.getInt16(index * INSN_SIZE + 2, true),
    imm: view.getInt32(index * INSN_SIZE + 4, true),
  });
  if (insn < 0) {
    if (known.knowsEveryInsn) return undefined;
    for (let index = 0; index < count; index++) {
      const unknown = known.unknownInsn(at(index));
      if (unknown?.early) return unknown;
    }
    return undefined;
  }
  const refused = at(insn);
  // The source register says what is called: 0 is a helper.
  const helper = refused.code === CALL && refused.src === 0 ? helperById(refused.imm) : undefined;
  const type = progTypeById(program.progType);
  const attachType = attachTypeById(program.expectedAttachType ?? 0)?.name;
  return helper !== undefined && type !== undefined
    ? known.helperNeeds(helper, type.name, attachType)
    : known.unknownInsn(refused);
}
