/**
 * The whole compiler: C text in, a relocatable BPF object out. No file is read but through the resolver, nothing is kept between
 * calls.
 */
import { BpfError } from '../util/index.ts';
import { type CompiledFunction, generate } from './codegen/index.ts';
import { emitObject } from './emit/index.ts';
import { BCC_HEADER, bccHeaders, builtinHeader } from './headers/index.ts';
import type { Func } from './ir/index.ts';
import { printModule } from './ir/index.ts';
import { lowerUnit } from './lower/index.ts';
import { optimize } from './passes/index.ts';
import {
  type IncludePaths,
  type IncludeResolver,
  Preprocessor,
  type PreprocessorOptions,
} from './preprocess/index.ts';
import { analyze, type TableNote } from './sema/index.ts';
import { type Diagnostic, DiagnosticSink, NO_LOCATION, SourceManager } from './source/index.ts';

export interface CompileOptions {
  /** Instruction set, 1 to 4. Default 3. */
  readonly cpu?: 1 | 2 | 3 | 4;
  /** `-O`, default 2. */
  readonly optimize?: 0 | 1 | 2 | 3 | 's' | 'z';
  /** `-g`, default true: without BTF there are no maps and no CO-RE. */
  readonly debug?: boolean;
  readonly includes?: IncludePaths;
  readonly defines?: NonNullable<PreprocessorOptions['defines']>;
  readonly forced?: readonly string[];
  /** What stood behind `-W`. */
  readonly warnings?: readonly string[];
  readonly noWarnings?: boolean;
  readonly errorLimit?: number;
  /** Text of a built-in header by its name. */
  readonly builtinHeader?: (name: string) => string | undefined;
  /** `bcc`: the C of the BPF Compiler Collection: tables with methods, probe functions with arguments, implied headers. */
  readonly dialect?: 'bcc';
  /** The dialect's `TRACEPOINT_PROBE`: text of an event's format file in tracefs. */
  readonly tracepointFormat?: (category: string, name: string) => string | undefined;
  /** The dialect's tables that are pinned, lent, borrowed, or hold others. */
  readonly onTable?: (name: string, note: TableNote) => void;
  /** Also give the IR as text, after the passes. */
  readonly emitIr?: boolean;
  /** Check the IR after each pass; for tests. */
  readonly checkIr?: boolean;
}

export interface CompileInput {
  readonly files: IncludeResolver;
  /** Path of the main file: it is read through `files` where `text` is absent. */
  readonly main: string;
  readonly text?: string;
  readonly options?: CompileOptions;
}

export interface CompileResult {
  /** The ELF object; null where there were errors. */
  readonly object: Uint8Array | null;
  readonly diagnostics: readonly Diagnostic[];
  /** For printing the diagnostics. */
  readonly sources: SourceManager;
  readonly ir?: string;
  /** BCC dialect: the struct that each table of events is handed; it is in the object's BTF. */
  readonly events?: ReadonlyMap<string, string>;
}

/** Compiles one translation unit. Errors of the source are diagnostics; never throws for any input. */
export function compile(input: CompileInput): CompileResult {
  const options = input.options ?? {};
  const cpu = options.cpu ?? 3;
  const isBcc = options.dialect === 'bcc';
  const headers = isBcc ? bccHeaders(options.builtinHeader ?? builtinHeader) : options.builtinHeader;
  const sources = new SourceManager();
  const sink = new DiagnosticSink(sources, {
    ...(options.errorLimit === undefined ? {} : { errorLimit: options.errorLimit }),
    ...(options.noWarnings === undefined ? {} : { noWarnings: options.noWarnings }),
    ...(options.warnings === undefined ? {} : { warnings: options.warnings }),
  });
  const result = (object: Uint8Array | null, ir?: string): CompileResult => ({
    object,
    diagnostics: sink.diagnostics,
    sources,
    ...(ir === undefined ? {} : { ir }),
  });
  const text = input.text ?? input.files.read(input.main);
  if (text === undefined) {
    sink.fatal('no-input', `no such file or directory: '${input.main}'`, NO_LOCATION);
    return result(null);
  }
  try {
    const tokens = new Preprocessor(sink, input.main, text, {
      resolver: input.files,
      target: { cpu, optimize: options.optimize ?? 2 },
      ...(options.includes === undefined ? {} : { includes: options.includes }),
      ...(options.defines === undefined ? {} : { defines: options.defines }),
      ...(isBcc ? { forced: [BCC_HEADER, ...(options.forced ?? [])] } : {}),
      ...(options.forced === undefined || isBcc ? {} : { forced: options.forced }),
      ...(headers === undefined ? {} : { builtinHeader: headers }),
    });
    function* macros(): Iterable<string> {
      for (const macro of tokens.macros()) if (macro.parameters !== null) yield macro.name;
    }
    const unit = analyze(tokens, sink, {
      macros,
      ...(options.dialect === undefined ? {} : { dialect: options.dialect }),
      ...(options.tracepointFormat === undefined ? {} : { tracepointFormat: options.tracepointFormat }),
      ...(options.onTable === undefined ? {} : { onTable: options.onTable }),
    });
    if (sink.hasErrors) return result(null);
    const module = lowerUnit(unit, sink);
    if (sink.hasErrors) return result(null);
    const complain = (code: string, message: string, location: number | undefined): void => {
      sink.error(code, message, location ?? NO_LOCATION);
    };
    const { optimize: level = 2 } = options;
    const kept = optimize(
      module,
      {
        level: typeof level === 'number' ? level : 2,
        cpu,
        probeReads: isBcc,
        ...(options.checkIr === undefined ? {} : { check: options.checkIr }),
      },
      complain,
    );
    const ir = options.emitIr === true ? printModule(module) : undefined;
    const functions: { func: Func; code: CompiledFunction }[] = [];
    for (const func of kept.functions) {
      const code = generate(func, cpu, complain);
      if (code !== undefined) functions.push({ func, code });
    }
    if (sink.hasErrors) return result(null, ir);
    const object = emitObject({
      sources,
      fileName: input.main.split('/').pop() ?? input.main,
      functions,
      globals: kept.globals,
      externs: kept.externs,
      debug: options.debug ?? true,
      kept: [...unit.events.values()],
    });
    const events = new Map([...unit.events].map(([table, record]) => [table, record.tag ?? '']));
    return { ...result(object, ir), ...(isBcc ? { events } : {}) };
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    sink.fatal('limit', error.message, NO_LOCATION);
    return result(null);
  }
}
