/** The C of a BCC program to an object: types from the kernel's BTF, records of tracepoints from tracefs or from what the caller gives. */
import { type Btf, parseBtf } from '../btf/index.ts';
import {
  BCC_HEADER,
  bccHeaders,
  bccPlainTypes,
  builtinHeader,
  type CompileOptions,
  type CompileResult,
  compile,
  DiagnosticSink,
  formatDiagnostics,
  headersWithVmlinux,
  type IncludeResolver,
  Preprocessor,
  printPreprocessed,
  SourceManager,
  type TableNote,
  vmlinuxHeaderFor,
} from '../compiler/index.ts';
import type { Kernel } from '../contracts/kernel.ts';
import { stockTracepointFormat } from '../spec/index.ts';
import { fromUtf8 } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import { readCflags } from './flags.ts';
import { syscallFormat } from './syscall-formats.ts';

export interface BccSource {
  readonly text: string;
  /** For diagnostics. */
  readonly name: string;
  readonly cflags?: readonly string[];
  /** Types of the kernel; default: what the kernel shows. */
  readonly kernelBtf?: Btf;
  /** Format files of tracepoints (`sched/sched_switch` → text), before those of the machine. */
  readonly tracepointFormats?: Readonly<Record<string, string>>;
  /** Functions are for USDT probes, whether they read arguments or not. */
  readonly usdt?: boolean;
  /** Gets the compiler's warnings. */
  readonly onDiagnostics?: (text: string) => void;
  /** Gets the compiler's IR, after its passes. */
  readonly onIr?: (text: string) => void;
  /** Gets the source as the preprocessor leaves it. */
  readonly onPreprocessed?: (text: string) => void;
}

export interface BccObject {
  readonly object: Uint8Array;
  /** The struct that each table of events is handed. */
  readonly events: ReadonlyMap<string, string>;
  /** Tables that are pinned, lent, borrowed, or hold others. */
  readonly tables: ReadonlyMap<string, TableNote>;
}

/** What compiling asks of a kernel: its types, its files and tracefs where it has them, its CPUs. */
export type CompileTarget = Pick<Kernel, 'files' | 'kernelBtf' | 'features'>;

/** The source does not compile; `diagnostics` is what a C compiler would print. */
export class BccCompileError extends BpfError {
  readonly diagnostics: string;
  constructor(name: string, diagnostics: string) {
    super('EINVAL', `${name} does not compile:\n${diagnostics}`);
    this.name = 'BccCompileError';
    this.diagnostics = diagnostics;
  }
}

const USES_USDT = /\bbpf_usdt_readarg(?:_p)?\b/;
/** A program says its licence without quotes, of one word or several. */
const LICENSE = /^[ \t]*#[ \t]*define[ \t]+BPF_LICENSE[ \t]+(.*\S)/m;
const DEFAULT_LICENSE = 'GPL';
const VMLINUX_GUARD = '#define __VMLINUX_H__\n';

/** What only programs for BCC have: its macros, or a method of a table, and no header of libbpf. */
const TELLTALE =
  /^[ \t]*(?:BPF_(?:F_)?TABLE\w*|BPF_(?:HASH|ARRAY|HISTOGRAM|PERF_OUTPUT|PERF_ARRAY|RINGBUF_OUTPUT|PERCPU_HASH|PERCPU_ARRAY|LRU_HASH|LPM_TRIE|STACK_TRACE|PROG_ARRAY|QUEUE|STACK)|TRACEPOINT_PROBE|RAW_TRACEPOINT_PROBE|KFUNC_PROBE|KRETFUNC_PROBE|LSM_PROBE)[ \t]*\(/m;
const LIBBPF = /^[ \t]*#[ \t]*include[ \t]*[<"](?:bpf\/|bpf_helpers)/m;

/** Whether a C source is written for BCC rather than for libbpf. */
export function isBccSource(text: string): boolean {
  return TELLTALE.test(text) && !LIBBPF.test(text);
}

/** Errors: BccCompileError. */
export function compileBcc(kernel: CompileTarget, source: BccSource): BccObject {
  const tables = new Map<string, TableNote>();
  const { onPreprocessed } = source;
  // It may take two attempts (translateBcc): the text of the last one counts.
  let preprocessedText: string | undefined;
  const keep = (text: string): void => {
    preprocessedText = text;
  };
  const watched = onPreprocessed === undefined ? source : { ...source, onPreprocessed: keep };
  const result = translateBcc(kernel, watched, {
    onTable: (name, note) => {
      tables.set(name, note);
    },
    ...(source.onIr === undefined ? {} : { emitIr: true }),
  });
  if (preprocessedText !== undefined) onPreprocessed?.(preprocessedText);
  if (result.ir !== undefined) source.onIr?.(result.ir);
  const text = formatDiagnostics(result.sources, result.diagnostics);
  if (result.object === null) throw new BccCompileError(source.name, text);
  if (text !== '') source.onDiagnostics?.(text);
  return { object: result.object, events: result.events ?? new Map(), tables };
}

/** The compiler's result, diagnostics and all. `options` go before what the source's flags say. */
export function translateBcc(
  kernel: CompileTarget,
  source: BccSource,
  options: Omit<CompileOptions, 'dialect' | 'builtinHeader' | 'tracepointFormat'> = {},
): CompileResult {
  // A program that includes nothing can do without the kernel's types as a rule, which take longer than all the rest.
  if (!/^[ \t]*#[ \t]*include/m.test(source.text)) {
    const result = translateWith(kernel, source, options, () => undefined);
    if (result.object !== null) return result;
  }
  return translateWith(kernel, source, options, () => source.kernelBtf ?? kernelTypes(kernel));
}

function translateWith(
  kernel: CompileTarget,
  source: BccSource,
  options: Parameters<typeof translateBcc>[2] = {},
  typesOf: () => Btf | undefined,
): CompileResult {
  const flags = readCflags([...(source.cflags ?? []), ...impliedFlags(kernel, source)]);
  const files = filesOf(kernel);
  let vmlinux: string | undefined;
  const builtin = (name: string): string | undefined => {
    if (name !== 'vmlinux.h') return builtinHeader(name);
    const types = typesOf();
    if (types !== undefined) vmlinux ??= typesHeader(types, source, files, flags);
    return vmlinux;
  };
  source.onPreprocessed?.(preprocessed(source, files, flags, builtin));
  return compile({
    files,
    main: source.name,
    text: licensed(source.text),
    options: {
      ...flags,
      ...options,
      defines: [...(flags.defines ?? []), ...(options.defines ?? [])],
      dialect: 'bcc',
      builtinHeader: builtin,
      tracepointFormat: (category, name) => tracepointFormat(kernel, source, category, name),
    },
  });
}

function preprocessed(
  source: BccSource,
  files: IncludeResolver,
  flags: ReturnType<typeof readCflags>,
  builtin: (name: string) => string | undefined,
): string {
  const sources = new SourceManager();
  const sink = new DiagnosticSink(sources, { errorLimit: 0, noWarnings: true });
  const tokens = new Preprocessor(sink, source.name, licensed(source.text), {
    resolver: files,
    target: { cpu: 3, optimize: 2 },
    ...(flags.includes === undefined ? {} : { includes: flags.includes }),
    ...(flags.defines === undefined ? {} : { defines: flags.defines }),
    forced: [BCC_HEADER, ...(flags.forced ?? [])],
    builtinHeader: bccHeaders(builtin),
  });
  return printPreprocessed(tokens, sources, true);
}

/** The program with its licence, behind its last line. */
function licensed(text: string): string {
  if (/\bSEC\s*\(\s*"license"/.test(text)) return text;
  const name = LICENSE.exec(text)?.[1] ?? DEFAULT_LICENSE;
  const quoted = name.replace(/["\\]/g, '');
  return `${text}\nchar _license[] __attribute__((section("license"), used)) = "${quoted}";\n`;
}

/** What BCC tells its programs of the machine. */
function impliedFlags(kernel: CompileTarget, source: BccSource): string[] {
  const { possibleCpus, arch } = kernel.features();
  // BCC compiles with the machine as its target: programs look which one that is.
  const flags = [`-D__BCC_CPUS__=${possibleCpus}`, `-D__${arch}__=1`];
  if (source.usdt === true || USES_USDT.test(source.text)) flags.push('-D__BCC_USDT__=1');
  return flags;
}

function filesOf(kernel: CompileTarget): IncludeResolver {
  return {
    read(path) {
      const bytes = kernel.files?.read(path) ?? null;
      return bytes === null ? undefined : fromUtf8(bytes);
    },
  };
}

const parsed = new WeakMap<CompileTarget, Btf | null>();

/** Types that programs can be written with: the embedded kernel's own BTF has no records, unless it was given a Linux's. */
function kernelTypes(kernel: CompileTarget): Btf | undefined {
  let types = parsed.get(kernel);
  if (types === undefined) {
    const bytes = kernel.kernelBtf();
    types = bytes === null ? null : parseBtf(bytes);
    if (types !== null && types.find('task_struct', 'struct') === undefined) types = null;
    parsed.set(kernel, types);
  }
  return types ?? undefined;
}

/** Types of a Linux replace the UAPI headers; those that the embedded kernel has of its own come on top of them. */
function typesHeader(
  types: Btf,
  source: BccSource,
  files: IncludeResolver,
  flags: ReturnType<typeof readCflags>,
): string {
  if (types.find('bpf_map_type', 'enum') !== undefined)
    return typesFor(types, source, files, flags, VMLINUX_GUARD);
  const plain = bccPlainTypes();
  const text = typesFor(types, source, files, flags, plain);
  return plain + text.replaceAll('__VMLINUX_H__', '__BCC_VMLINUX_H');
}

/** What the program can mean of the kernel's types, for everything that it and its headers name but do not define. */
function typesFor(
  types: Btf,
  source: BccSource,
  files: IncludeResolver,
  flags: ReturnType<typeof readCflags>,
  vmlinux: string,
): string {
  const sink = new DiagnosticSink(new SourceManager(), { errorLimit: 0, noWarnings: true });
  const tokens = new Preprocessor(sink, source.name, source.text, {
    resolver: files,
    target: { cpu: 3, optimize: 2 },
    ...(flags.includes === undefined ? {} : { includes: flags.includes }),
    ...(flags.defines === undefined ? {} : { defines: flags.defines }),
    forced: [BCC_HEADER, ...(flags.forced ?? [])],
    builtinHeader: bccHeaders(headersWithVmlinux(() => vmlinux)),
  });
  const own = definedTags(tokens);
  const names = new Set([...tokens.identifiers()].filter((name) => !own.has(name)));
  return vmlinuxHeaderFor(types, names, own);
}

/** Records that the program defines itself: those of the kernel of the same name are left out. Reads all tokens. */
function definedTags(tokens: Preprocessor): Set<string> {
  const tags = new Set<string>();
  let before = '';
  let name = '';
  for (let token = tokens.next(); token.kind !== 'eof'; token = tokens.next()) {
    if (token.text === '{' && RECORD_WORDS.has(before)) tags.add(name);
    before = name;
    name = token.text;
  }
  return tags;
}

const RECORD_WORDS: ReadonlySet<string> = new Set(['struct', 'union', 'enum']);

function tracepointFormat(
  kernel: CompileTarget,
  source: BccSource,
  category: string,
  name: string,
): string | undefined {
  const given = source.tracepointFormats?.[`${category}/${name}`];
  if (given !== undefined) return given;
  const bytes = kernel.files?.readTracing(`events/${category}/${name}/format`) ?? null;
  if (bytes !== null) return fromUtf8(bytes);
  return category === 'syscalls' ? syscallFormat(name) : stockTracepointFormat(`${category}/${name}`);
}
