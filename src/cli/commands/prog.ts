/**
 * `tsbpf prog`: bpftool's program commands, on an object that is loaded for the call or on the programs that the host kernel holds
 * (an embedded kernel lives as long as its process). Output and JSON have bpftool's shape.
 */
import { uptime } from 'node:os';
import type { Command } from 'commander';
import { decodeProgram } from '../../asm/index.ts';
import type { Btf } from '../../btf/index.ts';
import type { ProgInfo } from '../../contracts/kernel.ts';
import type { ProgTestRunAttr, ProgTestRunResult } from '../../contracts/test-run.ts';
import { KernelSymbols } from '../../libbpf/index.ts';
import { progTypeById } from '../../spec/index.ts';
import {
  type Action,
  type CommandRow,
  collect,
  engineOption,
  kernelOption,
  parseData,
  positive,
  programTypeOption,
  type Runner,
  sysctlOption,
  withExamples,
} from '../command.ts';
import { EXIT, UsageError } from '../errors.ts';
import { writeFile } from '../files.ts';
import { hexdump } from '../hexdump.ts';
import {
  type CodeFunction,
  engineFunction,
  hostFunctions,
  jitedJson,
  jitedLines,
  wasmFunctions,
} from '../jited.ts';
import { toJson } from '../json.ts';
import { disassembleMachineCode, engineMachineCode } from '../native.ts';
import type { Output } from '../output.ts';
import { testRunRepeatedly } from '../session/test-runs.ts';
import { parseTarget, type TargetRequest, type ToolProgram, typesOf, withPrograms } from '../targets.ts';
import { listXlated, type XlatedOptions, xlatedJson, xlatedLines } from '../xlated.ts';
import { xlatedGraph } from '../xlated-graph.ts';

export interface ToolOptions extends TargetRequest {
  readonly json?: boolean;
  readonly pretty?: boolean;
  readonly program?: readonly string[];
}

/** bpftool's -j and -p. */
export function jsonOptions(command: Command): Command {
  return command.option('-j, --json', 'JSON').option('-p, --pretty', 'JSON, indented');
}

export function printJson(out: Output, value: unknown, options: ToolOptions): void {
  out.line(toJson(value, options.pretty ? 4 : 0));
}

/** Uses the one program that is meant: the only one, or the one that is named. */
function only<T>(programs: Iterable<ToolProgram>, use: (program: ToolProgram) => T): T {
  const found = Array.from(programs, (program) => ({ name: program.name, held: isHeld(program) }));
  // A program of the kernel is open for as long as it is looked at, so it is looked for again.
  if (found.length === 1) for (const program of programs) return use(program);
  const where = found[0]?.held ? 'the kernel' : 'the object';
  const names = found.map(({ name }) => name).join(', ');
  throw new UsageError(
    `${where} has ${found.length === 0 ? 'no' : found.length} programs${found[0]?.held ? ' of that name' : ''}`,
    found.length === 0 ? undefined : found[0]?.held ? 'choose by id' : `choose with --program: ${names}`,
  );
}

/** Seconds since the epoch: a time of the kernel's clock since boot, or now where the program was loaded for this command. */
function loadedAt(loadTime: bigint, live: boolean): number {
  const now = Date.now() / 1000;
  if (!live) return Math.floor(now);
  return Math.floor(now - uptime() + Number(loadTime) / 1e9);
}

const isHeld = (program: ToolProgram): boolean => program.kernel.simulator === null;

function progJson(program: ToolProgram): Record<string, unknown> {
  const info = program.info();
  return {
    id: info.id,
    type: progTypeById(info.type)?.name ?? info.type,
    name: info.name,
    tag: info.tag,
    gpl_compatible: info.gplCompatible,
    loaded_at: loadedAt(info.loadTime, isHeld(program)),
    uid: info.createdByUid,
    bytes_xlated: info.xlatedInsns.length,
    jited: info.jited,
    ...(info.jited ? { bytes_jited: info.jitedProgLen } : {}),
    ...(info.runCnt > 0n ? { run_time_ns: info.runTimeNs, run_cnt: info.runCnt } : {}),
    ...(info.mapIds.length > 0 ? { map_ids: info.mapIds } : {}),
    ...(info.btfId > 0 ? { btf_id: info.btfId } : {}),
    verified_insns: info.verifiedInsns,
  };
}

const list: Action<[string[], ToolOptions]> = ({ env, out }, words, options) =>
  withPrograms(env, out, parseTarget('prog', words), options, (programs) => {
    if (options.json || options.pretty) {
      printJson(out, Array.from(programs, progJson), options);
      return EXIT.ok;
    }
    for (const program of programs) {
      const info = program.info();
      const type = progTypeById(info.type)?.name ?? `type ${info.type}`;
      out.line(`${info.id}: ${type}  name ${info.name}  tag ${info.tag}${info.gplCompatible ? '  gpl' : ''}`);
      const when = isHeld(program)
        ? `loaded_at ${new Date(loadedAt(info.loadTime, true) * 1000).toISOString().replace('.000Z', '+0000')}`
        : 'loaded for this command';
      out.line(`\t${when}  uid ${info.createdByUid}`);
      const jited = info.jited ? `jited ${info.jitedProgLen}B` : 'not jited';
      const maps = info.mapIds.length > 0 ? `  map_ids ${info.mapIds.join(',')}` : '';
      out.line(`\txlated ${info.xlatedInsns.length}B  ${jited}${maps}`);
      if (info.btfId > 0) out.line(`\tbtf_id ${info.btfId}`);
    }
    return EXIT.ok;
  });

interface DumpOptions extends ToolOptions, XlatedOptions {
  readonly visual?: boolean;
  readonly native?: boolean;
  readonly file?: string;
}

/** bpftool's way to write the options of a dump: words behind the program. */
const DUMP_WORDS: readonly string[] = ['opcodes', 'linum', 'visual'];

const dump: Action<[string, string[], DumpOptions]> = ({ env, out }, what, words, options) => {
  const show = DUMPS[what];
  if (show === undefined)
    throw new UsageError(`there is no dump '${what}'`, `the dumps are ${Object.keys(DUMPS).join(' and ')}`);
  const target = [...words];
  const asked: { -readonly [word in keyof DumpOptions]?: DumpOptions[word] } = {};
  // The first word is the object, or says how the program is chosen.
  for (;;) {
    if (target.length > 1 && DUMP_WORDS.includes(target.at(-1)!))
      Object.assign(asked, { [target.pop()!]: true });
    else if (target.length > 2 && target.at(-2) === 'file') asked.file = target.splice(-2)[1]!;
    else break;
  }
  return withPrograms(env, out, parseTarget('prog', target), options, (programs) => {
    only(programs, (program) => show(out, program, { ...options, ...asked }));
    return EXIT.ok;
  });
};

type Dump = (out: Output, program: ToolProgram, options: DumpOptions) => void;

const programTypes = (program: ToolProgram, info: ProgInfo): Btf | undefined =>
  info.btfId === 0 ? undefined : typesOf(program.kernel, info.btfId);

const dumpXlated: Dump = (out, program, options) => {
  const info = program.info();
  if (options.native) throw new UsageError('--native is for compiled code', 'dump jited');
  if (options.file !== undefined) {
    writeFile(options.file, info.xlatedInsns);
    return;
  }
  const symbols = program.kernel.files?.read('/proc/kallsyms');
  const insns = listXlated(
    info,
    programTypes(program, info),
    symbols ? KernelSymbols.parse(symbols) : undefined,
  );
  if (options.visual) {
    for (const line of xlatedGraph(insns, decodeProgram(info.xlatedInsns))) out.line(line);
    return;
  }
  if (options.json || options.pretty) {
    printJson(
      out,
      insns.map((insn) => xlatedJson(insn, options)),
      options,
    );
    return;
  }
  for (const line of xlatedLines(insns, options)) out.line(line);
};

const dumpJited: Dump = (out, program, options) => {
  const info = program.info();
  if (options.visual) throw new UsageError('visual shows instructions after rewriting', 'dump xlated');
  if (!info.jited) {
    throw new UsageError(
      `'${info.name}' is interpreted: there is no compiled code`,
      'leave out --engine interp',
    );
  }
  const code = info.jitedInsns ?? new Uint8Array();
  if (options.file !== undefined) {
    writeFile(options.file, code);
    return;
  }
  const functions = jitedFunctions(program, info, options.native === true);
  if (functions === null) {
    // Nothing here can read the code of this machine.
    if (options.json || options.pretty)
      printJson(out, { name: info.name, bytes: info.jitedProgLen, insns: code }, options);
    else out.write(hexdump(code));
    out.note('there is no objdump (binutils) to disassemble it');
  } else if (options.json || options.pretty) printJson(out, jitedJson(functions, options), options);
  else for (const line of jitedLines(functions, options)) out.line(line);
};

/** Null where machine code cannot be disassembled. */
function jitedFunctions(program: ToolProgram, info: ProgInfo, native: boolean): CodeFunction[] | null {
  const btf = programTypes(program, info);
  const listing = info.jitedListing;
  if (listing === undefined) {
    let failed = false;
    const functions = hostFunctions(info, btf, (code, address) => {
      const insns = disassembleMachineCode(code, address);
      failed ||= insns === null;
      return insns ?? [];
    });
    return failed ? null : functions;
  }
  const functions = wasmFunctions(info, btf);
  if (!native) return functions;
  const machine = engineMachineCode(info.jitedInsns ?? new Uint8Array());
  return listing.map((f, i) => engineFunction(f, functions[i]?.proto, machine.get(f.name) ?? []));
}

const DUMPS: Readonly<Record<string, Dump>> = { xlated: dumpXlated, jited: dumpJited };

interface TestRunOptions extends ToolOptions {
  readonly data?: string;
  readonly ctx?: string;
  readonly dataOut?: string;
  readonly repeat: number;
}

const testRun: Action<[string[], TestRunOptions]> = ({ env, out }, words, options) => {
  const dataIn = options.data === undefined ? undefined : parseData(options.data);
  const ctxIn = options.ctx === undefined ? undefined : parseData(options.ctx);
  const run = (program: ToolProgram): number => {
    const type = progTypeById(program.info().type);
    const zeros = type?.testRun === 'packet' ? new Uint8Array(64) : undefined;
    const data = dataIn ?? zeros;
    const input = {
      ...(data === undefined ? {} : { dataIn: data }),
      ...(ctxIn === undefined ? {} : { ctxIn }),
    };
    const once = (attr: Omit<ProgTestRunAttr, 'progFd'>): ProgTestRunResult =>
      program.kernel.progTestRun({ ...attr, progFd: program.fd });
    const result = testRunRepeatedly(once, type?.testRun, input, options.repeat);
    if (options.dataOut !== undefined) writeFile(options.dataOut, result.dataOut);
    const { retval, duration, dataOut, ctxOut } = result;
    if (options.json || options.pretty) {
      printJson(out, { retval, duration, data_out: dataOut, ctx_out: ctxOut }, options);
      return EXIT.ok;
    }
    if (data === zeros && zeros !== undefined)
      out.note(`no --data was given: the ${type?.name} program gets 64 zero bytes`);
    if (dataOut.length > 0 && options.dataOut === undefined) out.write(hexdump(dataOut));
    out.line(`Return value: ${retval}, duration${options.repeat > 1 ? ' (average)' : ''}: ${duration}ns`);
    return EXIT.ok;
  };
  return withPrograms(env, out, parseTarget('prog', words), options, (programs) => only(programs, run));
};

const TARGET = 'object file; with --kernel host also: id N, pinned PATH, name NAME, tag TAG';

export const PROG: CommandRow = {
  name: 'prog',
  declare(parent: Command, run: Runner): void {
    const prog = parent
      .command('prog')
      .summary("bpftool's program commands, on an object or on the host kernel")
      .description(
        'Shows, dumps and test-runs the programs of an object, in the shape of bpftool prog. With --kernel host and id N, pinned PATH, name NAME or tag TAG: programs that the kernel of this machine holds; with nothing, all of them.',
      );
    const common = (command: Command) =>
      jsonOptions(command.option('--program <name>', 'this program', collect))
        .addOption(programTypeOption())
        .addOption(kernelOption())
        .addOption(engineOption())
        .addOption(sysctlOption());
    common(
      prog
        .command('list')
        .alias('show')
        .description('id, type, name, tag, sizes and maps')
        .argument('[program...]', TARGET),
    ).action(run(list));
    common(
      prog
        .command('dump')
        .description('instructions after rewriting (xlated), or what the JIT has made (jited)')
        .argument('<what>', 'xlated or jited')
        .argument('<program...>', TARGET)
        .option('--opcodes', 'with the bytes of each instruction')
        .option('--linum', 'with file, line and column of the C lines')
        .option('--visual', 'xlated: control flow as a graph for Graphviz')
        .option('--native', 'jited: the machine code that the JavaScript engine makes of the WebAssembly')
        .option('--file <file>', 'writes the bytes to a file'),
    ).action(run(dump));
    common(
      prog
        .command('run')
        .description('test-runs a program (BPF_PROG_TEST_RUN)')
        .argument('<program...>', TARGET)
        .option('--data <hex|@file>', 'packet, as hex or from a file')
        .option('--ctx <hex|@file>', 'context, as hex or from a file')
        .option('--data-out <file>', 'writes the packet as the program left it')
        .option('--repeat <n>', 'runs it this many times', positive, 1),
    ).action(run(testRun));
    withExamples(prog, [
      ['tsbpf prog show prog.bpf.o -p', 'what the kernel says of each program'],
      ['tsbpf prog show --kernel host', 'all programs of this machine'],
      ['tsbpf prog dump xlated id 42 --kernel host', 'the instructions of one of them'],
      ['tsbpf prog dump jited prog.bpf.o --program NAME', 'the WebAssembly that runs, with C lines'],
      ['tsbpf prog dump jited prog.bpf.o --native', 'what V8 makes of it'],
      ['tsbpf prog dump xlated prog.bpf.o visual | dot -Tsvg', 'its control flow as a picture'],
      ['tsbpf prog run prog.bpf.o --data @packet.bin --repeat 1000000', 'return value and time of a run'],
    ]);
  },
};
