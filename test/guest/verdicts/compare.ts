/** What our verifier says of the programs that a guest's kernel has judged, and where it differs. */
import Table from 'cli-table3';
import type { Btf } from '../../../src/btf/index.ts';
import { progTypeByName, releaseOf } from '../../../src/spec/index.ts';
import type { Capability } from '../../../src/spec/types.ts';
import { ERRNO } from '../../../src/util/index.ts';
import { type MapKind, runCase } from '../../../tools/conformance/verifier-case.ts';
import { type Verdict, type VerdictCase, WHO, type Who } from './protocol.ts';

export interface Compared {
  readonly test: VerdictCase;
  readonly theirs: Verdict;
  readonly ours: {
    readonly accepted: boolean;
    readonly errno: number;
    readonly message: string;
    readonly insns: number;
  };
}

const capable = (capability: Capability, who: (typeof WHO)[Who]): boolean =>
  who.capSysAdmin ||
  { none: true, bpf: who.capBpf, perfmon: who.capPerfmon, net_admin: who.capNetAdmin, sys_admin: false }[
    capability
  ];

/** The verdicts of both; programs that the kernel could not be asked about are left out. */
export function compareVerdicts(
  release: string,
  cases: readonly VerdictCase[],
  kinds: Readonly<Record<string, MapKind>>,
  verdicts: readonly Verdict[],
  only?: string,
  btf?: Btf,
): Compared[] {
  const byId = new Map(cases.map((test) => [test.id, test]));
  return verdicts.flatMap((theirs) => {
    const test = byId.get(theirs.id);
    if (test === undefined || theirs.withoutMap !== undefined) return [];
    if (only !== undefined && String(test.id) !== only) return [];
    // Answers of a run that kept no types.
    if (test.attachFunc !== undefined && btf === undefined) return [];
    const who = WHO[theirs.who];
    // Who may load the type at all is the loader's rule, not the verifier's.
    const type = progTypeByName(test.progType)!;
    if (!type.unprivileged && !(who.capBpf && capable(type.capability, who))) return [];
    const attachBtfId =
      test.attachFunc === undefined
        ? undefined
        : (btf?.find(test.attachFunc, test.attachKind ?? 'func') ?? 0);
    const result = runCase(test, kinds, only === undefined ? 0 : 1, btf, {
      credentials: { uid: theirs.who === 'nobody' ? 1000 : 0, ...who },
      flags: test.loadFlags & (who.capBpf ? 0xff : 3),
      release,
      ...(attachBtfId === undefined ? {} : { attachBtfId }),
    });
    if (only !== undefined) console.log(theirs.who, result.log);
    const known = releaseOf(release).loadNeeds({
      progType: type,
      expectedAttachType: test.expectedAttachType,
      flags: test.loadFlags,
    });
    const accepted = result.verdict === 'accept' && known === undefined;
    return {
      test,
      theirs,
      ours: {
        accepted,
        errno: accepted ? 0 : result.verdict === 'accept' ? ERRNO.EINVAL : ERRNO[result.errno],
        message: result.verdict === 'accept' ? '' : result.message,
        insns: result.stats.insnsProcessed,
      },
    };
  });
}

/** A table of agreement, and what differs. */
export function printComparison(release: string, rows: readonly Compared[], differences: boolean): void {
  const table = new Table({
    head: [
      'as',
      'programs',
      'verdicts agree',
      'accepted only here',
      'refused only here',
      'same errno',
      'same message',
    ],
  });
  const whos = [...new Set(rows.map((row) => row.theirs.who))] as Who[];
  for (const who of whos) {
    const own = rows.filter((row) => row.theirs.who === who);
    const agree = own.filter((row) => row.ours.accepted === (row.theirs.errno === 0));
    const refused = agree.filter((row) => !row.ours.accepted);
    const share = (some: number, all: number): string =>
      `${some} (${((100 * some) / Math.max(1, all)).toFixed(1)}%)`;
    table.push([
      who,
      own.length,
      share(agree.length, own.length),
      own.filter((row) => row.ours.accepted && row.theirs.errno !== 0).length,
      own.filter((row) => !row.ours.accepted && row.theirs.errno === 0).length,
      share(refused.filter((row) => row.ours.errno === row.theirs.errno).length, refused.length),
      share(refused.filter((row) => row.ours.message === row.theirs.message).length, refused.length),
    ]);
  }
  console.log(`Linux ${release}\n${table}`);
  if (!differences) return;
  for (const { test, theirs, ours } of rows) {
    if (ours.accepted === (theirs.errno === 0)) continue;
    console.log(`${test.id} ${test.name} [${test.progType}] as ${theirs.who}`);
    console.log(`  here:  ${ours.errno} after ${ours.insns} insns: ${ours.message}`);
    console.log(`  Linux: ${theirs.errno} after ${theirs.insns} insns: ${theirs.message}`);
  }
}
