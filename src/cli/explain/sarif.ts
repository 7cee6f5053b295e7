/**
 * Rejections in SARIF 2.1.0 (OASIS, docs.oasis-open.org/sarif/sarif/v2.1.0), as code hosts and editors read it: a result for each
 * program that is refused, a rule for each kind of refusal, the path as a code flow.
 */
import type {
  Counterexample,
  ExplainedPlace,
  ExplainedSource,
  Explanation,
  SearchResult,
} from '../../util/explanation.ts';
import { REASONS } from '../../verifier/index.ts';
import { describe } from './text.ts';

export interface Finding {
  readonly program: string;
  readonly explanation: Explanation;
  readonly note?: string | undefined;
  readonly search?: SearchResult | undefined;
}

const SCHEMA = 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json';

/** Paths as SARIF wants them: URI references, relative ones to the root of the sources. */
function uri(file: string): string {
  const path = file.split('/').map(encodeURIComponent).join('/');
  return file.startsWith('/') ? `file://${path}` : path;
}

function physical(source: ExplainedSource | undefined, object: string, insn: number) {
  if (source === undefined)
    // Without line info the place is a byte of the object's program.
    return {
      artifactLocation: { uri: uri(object) },
      ...(insn < 0 ? {} : { region: { byteOffset: insn * 8, byteLength: 8 } }),
    };
  return {
    artifactLocation: {
      uri: uri(source.file),
      ...(source.file.startsWith('/') ? {} : { uriBaseId: 'SRCROOT' }),
    },
    region: {
      startLine: Math.max(1, source.line),
      ...(source.column > 0 ? { startColumn: source.column } : {}),
      ...(source.text === '' ? {} : { snippet: { text: source.text } }),
    },
  };
}

function location(place: ExplainedPlace | undefined, object: string, text?: string) {
  return {
    physicalLocation: physical(place?.source, object, place?.insn ?? -1),
    ...(place?.function === undefined
      ? {}
      : { logicalLocations: [{ name: place.function, kind: 'function' }] }),
    ...(text === undefined ? {} : { message: { text } }),
  };
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

function messageOf({ explanation: e, search }: Finding): string {
  const parts = [`${e.title}: ${e.why}`, `Fix: ${e.fix.text}`];
  const found: Counterexample | undefined = search?.found;
  if (found !== undefined) parts.push(`It goes wrong ${describe(found)}`);
  return parts.map(sentence).join(' ');
}

function resultOf(finding: Finding, object: string) {
  const { explanation: e, program } = finding;
  return {
    ruleId: e.kind,
    level: 'error',
    message: { text: messageOf(finding) },
    locations: [location(e.place, object)],
    ...(e.related === undefined
      ? {}
      : { relatedLocations: e.related.map((place, id) => ({ id, ...location(place, object, place.what) })) }),
    ...(e.path.length === 0
      ? {}
      : {
          codeFlows: [
            {
              message: { text: `The path through ${program} that is refused.` },
              threadFlows: [
                {
                  locations: e.path.map((step, index) => ({
                    location: location(step, object, step.what),
                    executionOrder: index + 1,
                    importance:
                      step.kind === 'refused'
                        ? 'essential'
                        : step.kind === 'loop'
                          ? 'unimportant'
                          : 'important',
                    kinds: [step.kind === 'helper' ? 'call' : step.kind === 'refused' ? 'danger' : step.kind],
                  })),
                },
              ],
            },
          ],
        }),
    properties: {
      program,
      errno: e.errno,
      log: e.message,
      insn: e.place?.insn ?? null,
      needed: e.needed,
      origin: e.origin,
      fix: e.fix,
      registers: e.registers,
      ...(finding.note === undefined ? {} : { note: finding.note }),
      ...(finding.search === undefined ? {} : { search: finding.search }),
    },
  };
}

/** A whole SARIF log; `object` is the path of the object file. */
export function toSarif(findings: readonly Finding[], object: string, version: string): unknown {
  const kinds = [...new Set(findings.map(({ explanation }) => explanation.kind))];
  const titles: Readonly<Record<string, { readonly title: string }>> = REASONS;
  return {
    $schema: SCHEMA,
    version: '2.1.0',
    runs: [
      {
        tool: {
          driver: {
            name: 'tsbpf',
            version,
            informationUri: 'https://github.com/tsbpf/tsbpf',
            rules: kinds.map((id) => ({
              id,
              shortDescription: { text: sentence(titles[id]?.title ?? 'refused by the verifier') },
              defaultConfiguration: { level: 'error' },
            })),
          },
        },
        artifacts: [{ location: { uri: uri(object) }, roles: ['analysisTarget'] }],
        originalUriBaseIds: {
          SRCROOT: { description: { text: 'The directory that the sources were compiled in.' } },
        },
        columnKind: 'utf16CodeUnits',
        results: findings.map((finding) => ({
          ...resultOf(finding, object),
          ruleIndex: kinds.indexOf(finding.explanation.kind),
        })),
      },
    ],
  };
}
