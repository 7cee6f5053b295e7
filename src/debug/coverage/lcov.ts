/**
 * Coverage as a trace file of lcov (geninfo(1), "TRACEFILE FORMAT"), for genhtml, editors and CI. One record a source file; a
 * conditional jump is a block with two branches: 0 it was made, 1 it was not.
 */
import { branchShare, type CoverageReport, type CoveredBranch, type CoveredFile, share } from './report.ts';

/** `testName`: letters, digits and underscores; others become underscores. */
export function lcovText(report: CoverageReport, testName = ''): string {
  const name = testName.replace(/\W/g, '_');
  return report.files.map((file) => recordOf(file, name)).join('');
}

/** Names may hold no line ends: they come from the object. */
const oneLine = (text: string): string => text.replace(/[\r\n]/g, '_');

function recordOf(file: CoveredFile, testName: string): string {
  const functions = share(file.functions.map(({ count }) => count));
  const lines = share(file.lines.map(({ count }) => count));
  const branches = branchShare(file.branches);
  return [
    `TN:${testName}`,
    `SF:${oneLine(file.file)}`,
    ...file.functions.map(({ name, line }) => `FN:${line},${oneLine(name)}`),
    ...file.functions.map(({ name, count }) => `FNDA:${count},${oneLine(name)}`),
    `FNF:${functions.found}`,
    `FNH:${functions.hit}`,
    ...branchLines(file.branches),
    ...(branches.found > 0 ? [`BRF:${branches.found}`, `BRH:${branches.hit}`] : []),
    ...file.lines.map(({ line, count }) => `DA:${line},${count}`),
    `LF:${lines.found}`,
    `LH:${lines.hit}`,
    'end_of_record',
    '',
  ].join('\n');
}

function branchLines(branches: readonly CoveredBranch[]): string[] {
  let line = -1;
  let block = 0;
  return branches.flatMap((branch) => {
    block = branch.line === line ? block + 1 : 0;
    line = branch.line;
    const times = (count: number) => (branch.reached ? String(count) : '-');
    return [
      `BRDA:${line},${block},0,${times(branch.taken)}`,
      `BRDA:${line},${block},1,${times(branch.notTaken)}`,
    ];
  });
}
