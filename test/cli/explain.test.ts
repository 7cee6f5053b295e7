/** `tsbpf verify` for machines and for the curious: JSON, SARIF, annotated source; refusals of other kernels. */
import { describe, expect, it } from 'vitest';
import type { Kernel } from '../../src/contracts/kernel.ts';
import { openKernel } from '../../src/open-kernel.ts';
import { VerifierError } from '../../src/util/errors.ts';
import type { Explanation, SearchResult } from '../../src/util/explanation.ts';
import { cli, example } from './cli.ts';

interface Verdicts {
  readonly version: number;
  readonly file: string;
  readonly programs: readonly {
    readonly name: string;
    readonly verdict: string;
    readonly explanation?: Explanation;
    readonly note?: string;
    readonly search?: SearchResult;
  }[];
}

describe('verify --format json', () => {
  it('has reason, place, path, fix and input of each refusal', async () => {
    const { exit, stdout } = await cli(['verify', example('unchecked'), '--format', 'json']);
    expect(exit).toBe(1);
    const { version, programs } = JSON.parse(stdout) as Verdicts;
    expect(version).toBe(1);
    expect(programs.map(({ verdict }) => verdict)).toEqual(['reject', 'reject', 'accept']);
    const [packet, lookup, checked] = programs;
    expect(packet.explanation).toMatchObject({
      origin: 'verifier',
      kind: 'packet_bounds',
      errno: 'EACCES',
      reason: { register: 1, offset: 12, size: 1, limit: 0 },
      place: { insn: 1, function: 'unchecked_packet', source: { line: 21, column: 14 } },
      fix: { code: 'if (ptr + 13 > data_end)\n\treturn XDP_PASS;' },
    });
    // A frame has 14 bytes at least: no run goes wrong.
    expect(packet.search?.found).toBeUndefined();
    expect(packet.search?.tries).toBeGreaterThan(10);
    expect(lookup.explanation?.registers[0]).toMatchObject({
      register: 'R0',
      type: 'map_value_or_null',
      mayBeNull: true,
      map: 'seen',
      origin: { what: 'the result of bpf_map_lookup_elem', source: { line: 29 } },
    });
    expect(lookup.explanation?.path.map(({ kind }) => kind)).toEqual(['entry', 'helper', 'refused']);
    expect(lookup.search?.found).toMatchObject({ insn: 8, what: 'R0 is NULL at instruction 8' });
    expect(checked.explanation).toBeUndefined();
  });
});

// biome-ignore lint/suspicious/noExplicitAny: a document of a foreign shape, whose parts are looked at one by one.
type Document = any;

/** What the SARIF 2.1.0 schema asks of the parts that are written: required fields, closed lists, types. */
function checkSarif(log: Document): void {
  expect(log.version).toBe('2.1.0');
  expect(log.$schema).toMatch(/sarif-schema-2\.1\.0\.json$/);
  expect(log.runs).toHaveLength(1);
  const [run] = log.runs;
  const { driver } = run.tool;
  expect(driver.name).toBe('tsbpf');
  expect(['utf16CodeUnits', 'unicodeCodePoints']).toContain(run.columnKind);
  const ids = driver.rules.map(({ id }: { id: string }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const rule of driver.rules) expect(rule.shortDescription.text).toMatch(/^[A-Z0-9].*\.$/);
  const checkLocation = (location: Document): void => {
    const { artifactLocation, region } = location.physicalLocation;
    expect(artifactLocation.uri).toMatch(/^[^\s\\]+$/);
    if (artifactLocation.uriBaseId !== undefined)
      expect(run.originalUriBaseIds).toHaveProperty(artifactLocation.uriBaseId);
    if (region?.startLine !== undefined) expect(region.startLine).toBeGreaterThan(0);
    if (region?.startColumn !== undefined) expect(region.startColumn).toBeGreaterThan(0);
    if (location.message !== undefined) expect(typeof location.message.text).toBe('string');
  };
  for (const result of run.results) {
    expect(result.message.text).toMatch(/\S/);
    expect(['none', 'note', 'warning', 'error']).toContain(result.level);
    expect(ids[result.ruleIndex]).toBe(result.ruleId);
    for (const location of result.locations) checkLocation(location);
    for (const related of result.relatedLocations ?? []) {
      expect(related.id).toBeGreaterThanOrEqual(0);
      checkLocation(related);
    }
    for (const flow of result.codeFlows ?? []) {
      expect(flow.threadFlows.length).toBeGreaterThan(0);
      for (const { locations } of flow.threadFlows) {
        expect(locations.length).toBeGreaterThan(0);
        for (const step of locations) {
          expect(['important', 'essential', 'unimportant']).toContain(step.importance);
          expect(step.executionOrder).toBeGreaterThan(0);
          checkLocation(step.location);
        }
      }
    }
  }
}

describe('verify --format sarif', () => {
  it('is SARIF 2.1.0 with a result a refusal and the path as a code flow', async () => {
    const { exit, stdout } = await cli(['verify', example('unchecked'), '--format', 'sarif']);
    expect(exit).toBe(1);
    const log = JSON.parse(stdout);
    checkSarif(log);
    const { results } = log.runs[0];
    expect(results.map(({ ruleId }: { ruleId: string }) => ruleId)).toEqual([
      'packet_bounds',
      'null_pointer',
    ]);
    expect(results[1].locations[0].physicalLocation).toMatchObject({
      artifactLocation: { uri: 'examples/src/unchecked.bpf.c' },
      region: { startLine: 31, startColumn: 2 },
    });
    const steps = results[1].codeFlows[0].threadFlows[0].locations;
    expect(steps.at(-1).location.physicalLocation.region.startLine).toBe(31);
    expect(results[1].message.text).toContain('R0 is NULL at instruction 8');
  });

  it('has no results where all programs are accepted', async () => {
    const { exit, stdout } = await cli(['verify', example('hello'), '--format', 'sarif']);
    expect(exit).toBe(0);
    const log = JSON.parse(stdout);
    checkSarif(log);
    expect(log.runs[0].results).toEqual([]);
  });
});

describe('verify --annotate', () => {
  it('shows what is known and spent at each line, and the hot spots', async () => {
    const { exit, stdout } = await cli(['verify', example('xdp_filter'), '--annotate']);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/^ +\d+ +\d* +\d* +58 \| \tif \(eth->h_proto == bpf_htons\(ETH_P_IP\)\) \{$/m);
    expect(stdout).toMatch(/R8 = pkt, 34 bytes of packet/);
    expect(stdout).toMatch(/R0 = map_value_or_null\(protocols\)/);
    expect(stdout).toMatch(/R0 = 1\.\.2/);
    expect(stdout).toMatch(/^most checked\n +[\d.]+% +\d+ {2}examples\/src\/xdp_filter\.bpf\.c:\d+/m);
  });

  it('as JSON: costs add up to what the verifier says', async () => {
    const { stdout } = await cli(['verify', example('xdp_filter'), '--annotate', '--format', 'json']);
    const [program] = JSON.parse(stdout).programs;
    const { lines, total, insns, functions } = program.annotations;
    // An instruction that a path was cut short at counts as processed, too.
    expect(total.processed + total.pruned).toBe(program.insnsProcessed);
    const sum = (parts: { processed: number }[]) => parts.reduce((n, { processed }) => n + processed, 0);
    expect(sum(lines)).toBe(total.processed);
    expect(sum(insns)).toBe(total.processed);
    expect(sum(functions)).toBe(total.processed);
  });

  it('changes no verdict and no count', async () => {
    const plain = JSON.parse((await cli(['verify', example('unchecked'), '--json'])).stdout);
    const annotated = JSON.parse(
      (await cli(['verify', example('unchecked'), '--annotate', '--format', 'json'])).stdout,
    );
    for (const [i, record] of plain.entries()) expect(annotated.programs[i]).toMatchObject(record);
  });

  it('is for the verifier of this package', async () => {
    const { exit, stderr } = await cli(['verify', example('hello'), '--annotate', '--kernel', 'host']);
    expect(exit).toBe(2);
    expect(stderr).toMatch(/--annotate asks the verifier of this package/);
  });
});

/** A kernel that only has a log, as Linux; `change` alters its last line. */
async function taciturn(change: (message: string) => string) {
  const { kernel } = await openKernel({ kernel: 'embedded', possibleCpus: 2 });
  const progLoad: Kernel['progLoad'] = (attr) => {
    try {
      return kernel.progLoad(attr);
    } catch (error) {
      if (!(error instanceof VerifierError)) throw error;
      throw new VerifierError('EACCES', change(error.message), { log: error.log, insn: -1 });
    }
  };
  const silent = new Proxy(kernel, {
    get(target, property) {
      if (property === 'progLoad') return progLoad;
      if (property === 'simulator') return null;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { kernel: silent, chosen: 'host' as const, why: '' };
}

describe('refusals of a kernel that only has its log', () => {
  const argv = ['verify', example('unchecked'), '--program', 'unchecked_lookup', '--kernel', 'host'];

  it('are explained by the verifier of this package, where it agrees', async () => {
    const { stdout } = await cli(argv, { host: () => taciturn((message) => message) });
    expect(stdout).toMatch(/why +R0 is a pointer to a map value, or NULL/);
    expect(stdout).toMatch(
      /note +refused by the kernel of this machine; explained by the verifier of this package/,
    );
  });

  it('are explained from the log alone, where it does not', async () => {
    const { stdout } = await cli([...argv, '--format', 'json'], {
      host: () => taciturn(() => 'R3 type=scalar expected=fp'),
    });
    const [{ explanation, note }] = (JSON.parse(stdout) as Verdicts).programs;
    expect(explanation).toMatchObject({ origin: 'log', message: 'R3 type=scalar expected=fp' });
    expect(note).toMatch(/for another reason/);
  });
});
