/**
 * The flags of `tsbpf cc`: clang's, as build files pass them. What changes nothing for BPF is taken and ignored; what cannot be done is
 * refused.
 */
import { UsageError } from '../errors.ts';

export interface CompilerFlags {
  readonly inputs: readonly string[];
  readonly output: string | undefined;
  /** What is made: an object, assembly text, preprocessed text, a list of macros, the IR, or only diagnostics. */
  readonly mode: 'object' | 'assembly' | 'preprocess' | 'macros' | 'ir' | 'check';
  readonly cpu: 1 | 2 | 3 | 4;
  readonly optimize: 0 | 1 | 2 | 3 | 's' | 'z';
  readonly debug: boolean;
  readonly includes: {
    readonly quote: readonly string[];
    readonly user: readonly string[];
    readonly system: readonly string[];
    readonly after: readonly string[];
  };
  readonly defines: readonly (
    | { readonly define: string; readonly value?: string }
    | { readonly undefine: string }
  )[];
  readonly forced: readonly string[];
  readonly warnings: readonly string[];
  readonly noWarnings: boolean;
  readonly errorLimit: number;
  /** No line markers in preprocessed text. */
  readonly noMarkers: boolean;
  /** None of the built-in headers. */
  readonly noBuiltinHeaders: boolean;
  readonly color: boolean | undefined;
  /** The C of the BPF Compiler Collection; undefined: where the text looks like it (`run`, `verify`). */
  readonly dialect: 'bcc' | 'c' | undefined;
  /** Where vmlinux.h comes from; default: this machine's kernel. */
  readonly btf: string | undefined;
  /** Another compiler does the work. */
  readonly compiler: string | undefined;
  /** Directory that the built-in headers are written to. */
  readonly writeHeaders: string | undefined;
  /** All that another compiler is to get. */
  readonly passed: readonly string[];
}

/** Flags with a value, joined to them or as the next word. */
const WITH_VALUE = [
  ...[
    '-o',
    '-I',
    '-D',
    '-U',
    '-include',
    '-isystem',
    '-iquote',
    '-idirafter',
    '-x',
    '-target',
    '-MF',
    '-MT',
    '-MQ',
  ],
  ...[
    '-Xclang',
    '-mllvm',
    '-resource-dir',
    '--sysroot',
    '-isysroot',
    '--cc',
    '--btf',
    '--write-headers',
    '--dialect',
    '-L',
    '-l',
  ],
];
const CPUS: Readonly<Record<string, 1 | 2 | 3 | 4>> = { generic: 1, v1: 1, v2: 2, v3: 3, v4: 4, probe: 3 };
const LEVELS: Readonly<Record<string, CompilerFlags['optimize']>> = {
  '': 1,
  '0': 0,
  '1': 1,
  '2': 2,
  '3': 3,
  s: 's',
  z: 'z',
  fast: 3,
  g: 1,
};
const MODES: Readonly<Record<string, CompilerFlags['mode']>> = {
  '-c': 'object',
  '-S': 'assembly',
  '-E': 'preprocess',
  '-dM': 'macros',
  '-fsyntax-only': 'check',
  '--emit-ir': 'ir',
  '-emit-llvm': 'ir',
};

type Mutable = {
  -readonly [Key in keyof CompilerFlags]: CompilerFlags[Key] extends readonly (infer Item)[]
    ? Item[]
    : CompilerFlags[Key];
};

/** @throws UsageError for a flag that is not known or lacks its value. */
export function parseFlags(argv: readonly string[]): CompilerFlags {
  const flags: Mutable = {
    inputs: [],
    output: undefined,
    mode: 'object',
    cpu: 3,
    optimize: 2,
    debug: false,
    includes: { quote: [], user: [], system: [], after: [] },
    defines: [],
    forced: [],
    warnings: [],
    noWarnings: false,
    errorLimit: 20,
    noMarkers: false,
    noBuiltinHeaders: false,
    color: undefined,
    btf: undefined,
    dialect: undefined,
    compiler: undefined,
    writeHeaders: undefined,
    passed: [],
  };
  const includes = {
    quote: [] as string[],
    user: [] as string[],
    system: [] as string[],
    after: [] as string[],
  };
  flags.includes = includes;
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === '--') {
      flags.inputs.push(...argv.slice(i + 1));
      flags.passed.push(...argv.slice(i));
      break;
    }
    if (word === '-' || !word.startsWith('-')) {
      flags.inputs.push(word);
      flags.passed.push(word);
      continue;
    }
    const name = WITH_VALUE.find((flag) => word === flag) ?? joined(word);
    if (name === undefined) {
      flags.passed.push(word);
      plain(flags, word);
      continue;
    }
    const rest = word.slice(name.length);
    const value = word === name ? argv[++i] : name.startsWith('--') ? rest.replace(/^=/, '') : rest;
    if (value === undefined) throw new UsageError(`${name} needs a value`);
    const own = name === '--cc' || name === '--btf' || name === '--write-headers' || name === '--dialect';
    if (!own) flags.passed.push(...(word === name ? [word, value] : [word]));
    withValue(flags, includes, name, value);
  }
  return flags;
}

/** The flag that stands at the front of a word with its value: `-Idir`, `-DX=1`, `-ofile`, `--cc=clang`. */
function joined(word: string): string | undefined {
  if (/^-[IDUoLl]./.test(word)) return word.slice(0, 2);
  const long = /^(--(?:cc|btf|write-headers|dialect|sysroot|target))=/.exec(word)?.[1];
  return long === '--target' ? undefined : long;
}

function withValue(
  flags: Mutable,
  includes: { quote: string[]; user: string[]; system: string[]; after: string[] },
  name: string,
  value: string,
): void {
  switch (name) {
    case '-o':
      flags.output = value;
      return;
    case '-I':
      includes.user.push(value);
      return;
    case '-isystem':
      includes.system.push(value);
      return;
    case '-iquote':
      includes.quote.push(value);
      return;
    case '-idirafter':
      includes.after.push(value);
      return;
    case '-include':
      flags.forced.push(value);
      return;
    case '-D': {
      const equals = value.indexOf('=');
      flags.defines.push(
        equals < 0 ? { define: value } : { define: value.slice(0, equals), value: value.slice(equals + 1) },
      );
      return;
    }
    case '-U':
      flags.defines.push({ undefine: value });
      return;
    case '-target':
      checkTarget(value);
      return;
    case '-x':
      if (value !== 'c' && value !== 'none') throw new UsageError(`-x ${value}: the language is C`);
      return;
    case '--cc':
      flags.compiler = value;
      return;
    case '--btf':
      flags.btf = value;
      return;
    case '--dialect':
      if (value !== 'bcc' && value !== 'c')
        throw new UsageError(`there is no dialect '${value}'`, 'bcc or c');
      flags.dialect = value;
      return;
    case '--write-headers':
      flags.writeHeaders = value;
      return;
    default:
      // For linkers, dependency files and clang's insides.
      return;
  }
}

function checkTarget(target: string): void {
  if (/^bpf(?:el)?(?:-|$)/.test(target)) return;
  throw new UsageError(
    `the target is bpf, not '${target}'`,
    /^bpfeb/.test(target) ? 'big-endian BPF is not supported' : 'leave out -target',
  );
}

function plain(flags: Mutable, word: string): void {
  const mode = Object.hasOwn(MODES, word) ? MODES[word] : undefined;
  if (mode !== undefined) {
    // `-E -dM` lists macros, `-S -emit-llvm` shows the IR, in either order.
    if (flags.mode === 'macros' || (flags.mode === 'ir' && mode !== 'macros')) return;
    flags.mode = mode;
    return;
  }
  const cpu = /^-(?:mcpu|march)=(.+)$/.exec(word)?.[1];
  if (cpu !== undefined) {
    const found = Object.hasOwn(CPUS, cpu) ? CPUS[cpu] : undefined;
    if (found === undefined) throw new UsageError(`there is no instruction set '${cpu}'`, 'v1, v2, v3 or v4');
    flags.cpu = found;
    return;
  }
  if (word.startsWith('-O')) {
    const level = Object.hasOwn(LEVELS, word.slice(2)) ? LEVELS[word.slice(2)] : undefined;
    if (level === undefined)
      throw new UsageError(`there is no optimisation level '${word}'`, '-O0 to -O3, -Os, -Oz');
    flags.optimize = level;
    return;
  }
  if (/^-g(?:\d|gdb\d?|dwarf(?:-\d)?|line-tables-only)?$/.test(word)) {
    flags.debug = word !== '-g0';
    return;
  }
  if (word.startsWith('--target=')) {
    checkTarget(word.slice(9));
    return;
  }
  if (word === '-w') flags.noWarnings = true;
  else if (word === '-P') flags.noMarkers = true;
  else if (word === '-nostdinc') flags.noBuiltinHeaders = true;
  else if (/^-ferror-limit=\d+$/.test(word)) flags.errorLimit = Number(word.slice(14));
  else if (/^-f(?:no-)?(?:color-diagnostics|diagnostics-color(?:=\w+)?)$/.test(word))
    flags.color = !/no-|=never/.test(word);
  else if (word.startsWith('-W')) {
    // -Wl, -Wp and -Wa are for other programs.
    if (!/^-W[lpa],/.test(word)) flags.warnings.push(word.slice(2));
  } else if (/^-std=/.test(word)) {
    if (!/^-std=(?:gnu|c)\w+$/.test(word) || word.includes('++'))
      throw new UsageError(`'${word}': the language is C, gnu17`);
  } else if (word === '-mbig-endian') throw new UsageError('big-endian BPF is not supported');
  else if (
    !/^-(?:[fmM]|pipe$|v$|nostdlib|no-canonical|static|shared|pthread|ansi$|pedantic|Qunused|save-temps)/.test(
      word,
    )
  )
    throw new UsageError(`unknown flag '${word}'`, 'tsbpf cc --help says what there is');
}
