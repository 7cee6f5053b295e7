/**
 * One release of Linux as verifier, kernel and command line ask it: what does it know, and since when is there what it does not.
 * Tables that name releases (rows' `since`, and the tables of this folder) are read here only.
 */
import { BPF_MACROS, BPF_MAP_FLAGS } from '../../uapi/index.ts';
import type { AttachTypeRow } from '../attach-types.ts';
import { attachTypeById } from '../attach-types.ts';
import { helperProgTypes } from '../helpers.ts';
import { expandProgTypes } from '../prog-groups.ts';
import type { HelperRow, MapTypeRow, ProgTypeRow } from '../types.ts';
import { CONTEXT_FIELD_RELEASES } from './contexts.ts';
import { HELPER_RELEASES, type HelperSince } from './helpers.ts';
import { INSN_RELEASES, type InsnSince } from './insns.ts';
import {
  BTF_KIND_RELEASES,
  MAP_FLAG_RELEASES,
  PROG_FLAG_RELEASES,
  SLEEPABLE_MAP_RELEASES,
  SLEEPABLE_RELEASES,
} from './objects.ts';
import { RULES, type RuleName } from './rules.ts';
import { releaseOrder } from './version.ts';

/** Something that a program needs, and the first release that has it. */
export interface Needed {
  /** `helper bpf_loop` */
  readonly what: string;
  /** `5.17` */
  readonly since: string;
}

/** The release whose rules the tables, and what has no field of its own for a release, describe. */
export const NEWEST_RELEASE = '6.18';

/** Long-term releases, oldest first, and the newest. */
export const LONG_TERM_RELEASES = ['5.4', '5.10', '5.15', '6.1', '6.6', '6.12', NEWEST_RELEASE] as const;

/** The oldest release that the tables describe. */
export const OLDEST_RELEASE = LONG_TERM_RELEASES[0];

interface Load {
  readonly progType: ProgTypeRow;
  readonly expectedAttachType: number;
  /** `prog_flags` of PROG_LOAD. */
  readonly flags: number;
}

const FLAG_VALUES = { ...BPF_MACROS, ...BPF_MAP_FLAGS } as Readonly<
  Record<string, number | bigint | undefined>
>;

function flagsNeeded(flags: number, table: Readonly<Record<string, string>>): Needed[] {
  return Object.entries(table).flatMap(([name, since]) => {
    const bit = Number(FLAG_VALUES[name] ?? 0);
    return bit !== 0 && (flags & bit) === bit ? [{ what: name, since }] : [];
  });
}

const typeSets = new WeakMap<HelperSince, ReadonlySet<string>>();

function typesOf(row: HelperSince): ReadonlySet<string> {
  let types = typeSets.get(row);
  if (types === undefined) {
    types = expandProgTypes(row.progTypes);
    typeSets.set(row, types);
  }
  return types;
}

export class Release {
  /** `6.1` */
  readonly name: string;
  readonly #order: number;
  readonly #rules: ReadonlySet<RuleName>;
  /** Forms of instructions that it does not know. */
  readonly #unknownInsns: readonly InsnSince[];

  /** Errors: EINVAL for text that is no release. */
  constructor(name: string) {
    this.#order = releaseOrder(name);
    this.name = name;
    this.#rules = new Set(
      (Object.keys(RULES) as RuleName[]).filter((rule) => this.isSince(RULES[rule].since)),
    );
    this.#unknownInsns = INSN_RELEASES.filter((row) => !this.isSince(row.since));
  }

  isSince(since: string): boolean {
    return this.#order >= releaseOrder(since);
  }

  has(rule: RuleName): boolean {
    return this.#rules.has(rule);
  }

  /** What the kernel does not know of an instruction; undefined where it does. */
  unknownInsn(insn: Parameters<InsnSince['match']>[0]): InsnSince | undefined {
    return this.#unknownInsns.find((row) => row.match(insn));
  }

  /** Whether there are instructions that it does not know. */
  get knowsEveryInsn(): boolean {
    return this.#unknownInsns.length === 0;
  }

  /** Whether it has the helper at all. */
  hasHelper(row: HelperRow): boolean {
    return this.isSince(row.since);
  }

  /** Why programs of the type may not call the helper yet, undefined where they may (or never may). */
  helperNeeds(row: HelperRow, progType: string, attachType?: string): Needed | undefined {
    if (!this.isSince(row.since)) return { what: `helper ${row.name}`, since: row.since };
    if (!helperProgTypes(row).has(progType)) return undefined;
    const short = row.name.replace(/^bpf_/, '');
    const later = HELPER_RELEASES.find(
      (one) =>
        !this.isSince(one.since) &&
        one.helpers.includes(short) &&
        typesOf(one).has(progType) &&
        (one.attachTypes === undefined || (attachType !== undefined && one.attachTypes.includes(attachType))),
    );
    if (later === undefined) return undefined;
    return { what: `helper ${row.name} in ${progType} programs`, since: later.since };
  }

  /** Why a field of a context is not there yet. */
  fieldNeeds(progType: string, field: string): Needed | undefined {
    const since = CONTEXT_FIELD_RELEASES[progType]?.[field];
    if (since === undefined || this.isSince(since)) return undefined;
    return { what: `field ${field} of the context`, since };
  }

  mapNeeds(row: MapTypeRow, flags = 0): Needed | undefined {
    return this.#first([
      { what: `map type ${row.name}`, since: row.since },
      ...flagsNeeded(flags, MAP_FLAG_RELEASES),
    ]);
  }

  sleepableMapNeeds(row: MapTypeRow): Needed | undefined {
    const since = SLEEPABLE_MAP_RELEASES[row.name];
    if (since === undefined) return undefined;
    return this.#first([{ what: `${row.name} maps in sleepable programs`, since }]);
  }

  /** Whether PROG_LOAD knows type, attach type and flags. */
  loadNeeds({ progType, expectedAttachType, flags }: Load): Needed | undefined {
    const attach =
      progType.attachTypes === undefined && expectedAttachType === 0
        ? undefined
        : attachTypeById(expectedAttachType);
    const sleeps = (flags & Number(FLAG_VALUES.BPF_F_SLEEPABLE ?? 0)) !== 0;
    const sleepable = sleeps ? SLEEPABLE_RELEASES[progType.name] : undefined;
    return this.#first([
      { what: `program type ${progType.name}`, since: progType.since },
      ...(attach === undefined || attach.id === 0 ? [] : [attachNeeded(attach)]),
      ...flagsNeeded(flags, PROG_FLAG_RELEASES),
      ...(sleepable === undefined ? [] : [{ what: `sleepable ${progType.name} programs`, since: sleepable }]),
    ]);
  }

  get knowsEveryBtfKind(): boolean {
    return Object.values(BTF_KIND_RELEASES).every((since) => this.isSince(since));
  }

  btfKindNeeds(kind: string): Needed | undefined {
    const since = BTF_KIND_RELEASES[kind];
    return since === undefined ? undefined : this.#first([{ what: `BTF kind ${kind}`, since }]);
  }

  /** What came last of those that it has not: with that release all are there. */
  #first(needs: readonly Needed[]): Needed | undefined {
    let latest: Needed | undefined;
    for (const need of needs) {
      if (this.isSince(need.since)) continue;
      if (latest === undefined || releaseOrder(need.since) > releaseOrder(latest.since)) latest = need;
    }
    return latest;
  }
}

const attachNeeded = (row: AttachTypeRow): Needed => ({ what: `attach type ${row.name}`, since: row.since });

const releases = new Map<string, Release>();

/** The release of that name; absent: the newest. Errors: EINVAL for text that is no release, or one older than the tables. */
export function releaseOf(name: string = NEWEST_RELEASE): Release {
  let release = releases.get(name);
  if (release === undefined) {
    release = new Release(name);
    if (releases.size < 64) releases.set(name, release);
  }
  return release;
}
