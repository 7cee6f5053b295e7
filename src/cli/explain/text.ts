/** A refusal for people: the C around the place, what is wrong, what is known, the way there, a fix, an input that goes wrong. */
import type {
  Counterexample,
  ExplainedPlace,
  ExplainedSource,
  ExplainedStep,
  Explanation,
  SearchResult,
} from '../../util/explanation.ts';
import { type Output, plural } from '../output.ts';
import type { Sources } from './sources.ts';

/** Lines of source before and after the one that matters. */
const AROUND = 2;
const LABEL = 9;
/** Bytes of a packet that are shown. */
const SHOWN_BYTES = 48;

export interface Shown {
  readonly explanation: Explanation;
  readonly sources: Sources;
  readonly note?: string | undefined;
  readonly search?: SearchResult | undefined;
  /** For refusals on the way to something else: without path, registers and input. */
  readonly short?: boolean;
}

/** What the log says is wrong: its last line, unless that is one of the two states that stand behind the sentence. */
export function headline(message: string, insn: number | undefined): string {
  return message.startsWith('old state:') && insn !== undefined
    ? `infinite loop detected at insn ${insn}`
    : message;
}

/** Below the line that names the program. */
export function printExplanation(
  out: Output,
  { explanation: e, sources, note, search, short = false }: Shown,
): void {
  const { bold, dim, cyan } = out.color;
  out.line(`  ${bold(headline(e.message, e.place?.insn))}`);
  if (e.origin === 'log') {
    if (e.place?.source !== undefined) printSource(out, e.place.source, sources, short);
    if (e.place !== undefined) out.line(`  at instruction ${e.place.insn}`);
  } else {
    if (e.place?.source !== undefined) printSource(out, e.place.source, sources, short);
    if (e.place !== undefined) out.line(`  ${dim(`instruction ${e.place.insn}:`)} ${bare(e.place.text)}`);
    label(out, 'what', `${e.title}: the program ${e.asked}`);
    label(out, 'why', e.why);
    label(out, 'needed', e.needed);
  }
  if (!short) {
    for (const { register, state, origin } of e.registers)
      label(
        out,
        register,
        `${cyan(state)}${origin === undefined ? '' : dim(`  ${origin.what}, ${where(origin)}`)}`,
      );
    for (const other of e.related ?? [])
      label(out, 'see', `${where(other)}: ${other.what}${quoted(other.source)}`);
    printPath(out, e.path);
  }
  if (e.fix.text !== '') label(out, 'fix', e.fix.text);
  if (!short && e.fix.code !== undefined)
    for (const line of e.fix.code.split('\n'))
      out.line(`  ${' '.repeat(LABEL + 2)}${line.replace(/\t/g, '    ')}`);
  if (search !== undefined && !short) printSearch(out, search);
  if (note !== undefined) label(out, 'note', note);
}

function label(out: Output, name: string, text: string): void {
  out.line(`  ${out.color.dim(name.padEnd(LABEL))}${text}`);
}

/** Without the opcode in front. */
function bare(text: string): string {
  return text.replace(/^\([0-9a-f]{2}\) /, '');
}

function where(place: ExplainedPlace): string {
  return place.source === undefined ? `instruction ${place.insn}` : `line ${place.source.line}`;
}

function quoted(source: ExplainedSource | undefined): string {
  return source === undefined || source.text.trim() === '' ? '' : `: ${source.text.trim()}`;
}

/**
 *     examples/src/unchecked.bpf.c:21:14
 *        20 | …
 *        21 |  return eth->h_proto == …
 *           |              ^
 */
export function printSource(out: Output, source: ExplainedSource, sources: Sources, short: boolean): void {
  const { dim, red, cyan } = out.color;
  out.line(`  ${cyan(`${source.file}:${source.line}${source.column > 0 ? `:${source.column}` : ''}`)}`);
  const file = sources.of(source.file);
  const around = short || file.path === undefined ? 0 : AROUND;
  for (let n = source.line - around; n <= source.line + around; n++) {
    const text = n === source.line ? source.text : file.line(n);
    if (text === undefined || (n === source.line && text === '')) continue;
    const number = `${String(n).padStart(6)} |`;
    out.line(`${dim(number)} ${n === source.line ? text.trimEnd() : dim(text.trimEnd())}`.trimEnd());
    if (n !== source.line || source.column <= 0 || source.column > text.length + 1) continue;
    // Tabs stay what they are, so that the caret stands below its column in any terminal.
    const before = text.slice(0, Math.max(0, source.column - 1)).replace(/[^\t]/g, ' ');
    out.line(`${dim(`${' '.repeat(6)} |`)} ${before}${red('^')}`);
  }
}

function printPath(out: Output, path: readonly ExplainedStep[]): void {
  if (path.length <= 1) return;
  path.forEach((step, i) => {
    const place = step.source === undefined ? `insn ${step.insn}` : `line ${step.source.line}`;
    const name = i > 0 && path[i - 1]!.function !== step.function ? `${step.function ?? ''}: ` : '';
    label(
      out,
      i === 0 ? 'path' : '',
      `${out.color.dim(place.padEnd(10))}${name}${step.what}${out.color.dim(quoted(step.source))}`,
    );
  });
}

function printSearch(out: Output, { found, tries, milliseconds, note }: SearchResult): void {
  const effort = `${plural(tries, 'input')} tried in ${Math.max(1, Math.round(milliseconds))} ms`;
  if (found !== undefined) {
    label(out, 'input', `${out.color.red('goes wrong:')} ${describe(found)}`);
    label(out, '', out.color.dim(`confirmed in the checking interpreter; ${effort}`));
  } else if (tries > 0) {
    label(
      out,
      'input',
      `none was found with which the program goes wrong (${effort}): it may be right, and only not provable`,
    );
  } else if (note !== undefined) {
    label(out, 'input', out.color.dim(`not searched: ${note}`));
  }
}

/** One sentence: with which input what happens. */
export function describe(found: Counterexample): string {
  const given: string[] = [];
  if (found.packet !== undefined)
    given.push(`a packet of ${plural(found.packet.length / 2, 'byte')}${hexOf(found.packet)}`);
  if (found.context !== undefined) given.push(`the context${hexOf(found.context)}`);
  for (const { map, key, value } of found.maps) given.push(`${map}[${key}] = ${value}`);
  for (const { insn, helper, returned } of found.helpers)
    given.push(`${helper} (instruction ${insn}) returning ${returned}`);
  return `${given.length === 0 ? 'in any run' : `with ${given.join(', ')}`}: ${found.what}`;
}

/** Zeros between two parts that are shown apart. */
const GAP = 4;
const MAX_PARTS = 3;

/** Bytes for a sentence: mostly zeros are told by what is not. */
function hexOf(hex: string): string {
  const bytes = hex.match(/../g) ?? [];
  if (bytes.length === 0) return '';
  const parts: { start: number; end: number }[] = [];
  bytes.forEach((byte, i) => {
    if (byte === '00') return;
    const last = parts[parts.length - 1];
    if (last !== undefined && i - last.end < GAP) last.end = i + 1;
    else parts.push({ start: i, end: i + 1 });
  });
  if (parts.length === 0) return ', all zero';
  if (bytes.length > 16 && parts.length <= MAX_PARTS && parts.every(({ start, end }) => end - start <= 16))
    return `, zero but for ${parts.map(({ start, end }) => `${bytes.slice(start, end).join('')} at byte ${start}`).join(', ')}`;
  return ` (${bytes.slice(0, SHOWN_BYTES).join('')}${bytes.length > SHOWN_BYTES ? '…' : ''})`;
}
