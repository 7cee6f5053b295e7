/** The C of a BCC program to an object: types from the kernel's BTF, records of tracepoints from tracefs or from what the caller gives. */
import { type Btf, parseBtf } from '../btf/index.ts';
import {
  BCC_HEADER,
  bccHeaders,
  bccPlainTypes,
  compile,
  DiagnosticSink,
  formatDiagnostics,
  headersWithVmlinux,
  type IncludeResolver,
  Preprocessor,
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
}

export interface BccObject {
  readonly object: Uint8Array;
  /** The struct that each table of events is handed. */
  readonly events: ReadonlyMap<string, string>;
  /** Tables that are pinned, lent, borrowed, or hold others. */
  readonly tables: ReadonlyMap<string, TableNote>;
  /** `#define BPF_LICENSE`, GPL where there is none. */
  readonly license: string;
}

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

/** Errors: BccCompileError. */
export function compileBcc(kernel: Kernel, source: BccSource): BccObject {
  const flags = readCflags([...(source.cflags ?? []), ...impliedFlags(kernel, source)]);
  const tables = new Map<string, TableNote>();
  const files = filesOf(kernel);
  const types = source.kernelBtf ?? kernelTypes(kernel);
  const builtin = headersWithVmlinux(() =>
    types === undefined ? undefined : typesHeader(types, source, files, flags),
  );
  const result = compile({
    files,
    main: source.name,
    text: source.text,
    options: {
      ...flags,
      dialect: 'bcc',
      builtinHeader: builtin,
      tracepointFormat: (category, name) => tracepointFormat(kernel, source, category, name),
      onTable: (name, note) => {
        tables.set(name, note);
      },
    },
  });
  const text = formatDiagnostics(result.sources, result.diagnostics);
  if (result.object === null) throw new BccCompileError(source.name, text);
  if (text !== '') source.onDiagnostics?.(text);
  const license = LICENSE.exec(source.text)?.[1] ?? DEFAULT_LICENSE;
  return { object: result.object, events: result.events ?? new Map(), tables, license };
}

/** What BCC tells its programs of the machine. */
function impliedFlags(kernel: Kernel, source: BccSource): string[] {
  const flags = [`-D__BCC_CPUS__=${kernel.features().possibleCpus}`];
  if (source.usdt === true || USES_USDT.test(source.text)) flags.push('-D__BCC_USDT__=1');
  return flags;
}

function filesOf(kernel: Kernel): IncludeResolver {
  return {
    read(path) {
      const bytes = kernel.files?.read(path) ?? null;
      return bytes === null ? undefined : fromUtf8(bytes);
    },
  };
}

const parsed = new WeakMap<Kernel, Btf | null>();

/** Types that programs can be written with: the embedded kernel's own BTF has no records, unless it was given a Linux's. */
function kernelTypes(kernel: Kernel): Btf | undefined {
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
  if (types.find('bpf_attr', 'union') !== undefined)
    return vmlinuxHeaderFor(types, identifiers(source, files, flags, VMLINUX_GUARD));
  const plain = bccPlainTypes();
  const names = identifiers(source, files, flags, plain);
  return plain + vmlinuxHeaderFor(types, names).replaceAll('__VMLINUX_H__', '__BCC_VMLINUX_H');
}

/** Everything that the program names, with its headers but the kernel's types. */
function identifiers(
  source: BccSource,
  files: IncludeResolver,
  flags: ReturnType<typeof readCflags>,
  vmlinux: string,
): ReadonlySet<string> {
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
  return new Set([...tokens.identifiers()].filter((name) => !own.has(name)));
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
  kernel: Kernel,
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
