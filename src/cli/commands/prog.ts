/**
 * `tsbpf prog`: bpftool's program commands. An embedded kernel lives as long as its process, so they act on an object that is
 * loaded for the call; output and JSON have bpftool's shape.
 */
import type { Command } from 'commander';
import { decodeProgram } from '../../asm/index.ts';
import type { BpfProgram } from '../../libbpf/index.ts';
import { progTypeById } from '../../spec/index.ts';
import {
  type Action,
  type CommandRow,
  collect,
  engineOption,
  parseData,
  positive,
  programTypeOption,
  type Runner,
  withExamples,
} from '../command.ts';
import { listXlated } from '../disassembly.ts';
import type { CliEnv } from '../environment.ts';
import { EXIT, UsageError } from '../errors.ts';
import { openObject, writeFile } from '../files.ts';
import { hexdump } from '../hexdump.ts';
import { toJson } from '../json.ts';
import { type EngineName, type LoadedObject, loadObject } from '../load.ts';
import type { Output } from '../output.ts';

export interface ToolOptions {
  readonly json?: boolean;
  readonly pretty?: boolean;
  readonly program?: readonly string[];
  readonly progType?: string;
  readonly engine?: EngineName;
}

/** bpftool's -j and -p. */
export function jsonOptions(command: Command): Command {
  return command.option('-j, --json', 'JSON').option('-p, --pretty', 'JSON, indented');
}

export function printJson(out: Output, value: unknown, options: ToolOptions): void {
  out.line(toJson(value, options.pretty ? 4 : 0));
}

/** Loads the object, all or nothing, does something with it, and takes it away again. */
export function withObject<T>(
  env: CliEnv,
  file: string,
  options: ToolOptions,
  use: (loaded: LoadedObject) => T,
): T {
  const object = openObject(file);
  const loaded = loadObject(env, object, {
    strict: true,
    ...(options.engine === undefined ? {} : { engine: options.engine }),
    ...(options.progType === undefined ? {} : { type: options.progType }),
  });
  try {
    return use(loaded);
  } finally {
    loaded.close();
  }
}

function chosen({ object }: LoadedObject, names: readonly string[] | undefined): readonly BpfProgram[] {
  if (names !== undefined) return names.map((name) => object.findProgram(name));
  return object.programs.filter(({ loaded }) => loaded);
}

/** The one program that is meant: the only one, or the one that is named. */
function only(loaded: LoadedObject, options: ToolOptions): BpfProgram {
  const programs = chosen(loaded, options.program);
  if (programs.length === 1) return programs[0];
  const names = programs.map(({ name }) => name).join(', ');
  throw new UsageError(
    programs.length === 0 ? 'the object has no programs' : `the object has ${programs.length} programs`,
    programs.length === 0 ? undefined : `choose with --program: ${names}`,
  );
}

function progJson(program: BpfProgram): Record<string, unknown> {
  const info = program.info();
  return {
    id: info.id,
    type: progTypeById(info.type)?.name ?? info.type,
    name: info.name,
    tag: info.tag,
    gpl_compatible: info.gplCompatible,
    loaded_at: Math.floor(Date.now() / 1000),
    uid: info.createdByUid,
    bytes_xlated: info.xlatedInsns.length,
    jited: info.jited,
    ...(info.jited ? { bytes_jited: info.jitedProgLen } : {}),
    ...(info.mapIds.length > 0 ? { map_ids: info.mapIds } : {}),
    ...(info.btfId > 0 ? { btf_id: info.btfId } : {}),
    verified_insns: info.verifiedInsns,
  };
}

const list: Action<[string, ToolOptions]> = ({ env, out }, file, options) =>
  withObject(env, file, options, (loaded) => {
    const programs = chosen(loaded, options.program);
    if (options.json || options.pretty) {
      printJson(out, programs.map(progJson), options);
      return EXIT.ok;
    }
    for (const program of programs) {
      const info = program.info();
      const type = progTypeById(info.type)?.name ?? `type ${info.type}`;
      out.line(`${info.id}: ${type}  name ${info.name}  tag ${info.tag}${info.gplCompatible ? '  gpl' : ''}`);
      out.line(`\tloaded for this command  uid ${info.createdByUid}`);
      const jited = info.jited ? `jited ${info.jitedProgLen}B` : 'not jited';
      const maps = info.mapIds.length > 0 ? `  map_ids ${info.mapIds.join(',')}` : '';
      out.line(`\txlated ${info.xlatedInsns.length}B  ${jited}${maps}`);
      if (info.btfId > 0) out.line(`\tbtf_id ${info.btfId}`);
    }
    return EXIT.ok;
  });

const dump: Action<[string, string, ToolOptions]> = ({ env, out }, what, file, options) => {
  const show = DUMPS[what];
  if (show === undefined)
    throw new UsageError(`there is no dump '${what}'`, `the dumps are ${Object.keys(DUMPS).join(' and ')}`);
  return withObject(env, file, options, (loaded) => {
    show(out, only(loaded, options), options);
    return EXIT.ok;
  });
};

type Dump = (out: Output, program: BpfProgram, options: ToolOptions) => void;

const dumpXlated: Dump = (out, program, options) => {
  const insns = listXlated(decodeProgram(program.info().xlatedInsns));
  if (options.json || options.pretty) {
    printJson(
      out,
      insns.map(({ text }) => ({ disasm: text })),
      options,
    );
    return;
  }
  for (const { index, text } of insns) out.line(`${String(index).padStart(4)}: ${text}`);
};

const dumpJited: Dump = (out, program, options) => {
  const { jited, jitedDump, jitedProgLen, name } = program.info();
  if (!jited)
    throw new UsageError(`'${name}' is interpreted: there is no compiled code`, 'leave out --engine interp');
  if (options.json || options.pretty) printJson(out, { name, bytes: jitedProgLen, text: jitedDump }, options);
  else out.write(jitedDump.endsWith('\n') ? jitedDump : `${jitedDump}\n`);
};

const DUMPS: Readonly<Record<string, Dump>> = { xlated: dumpXlated, jited: dumpJited };

interface TestRunOptions extends ToolOptions {
  readonly data?: string;
  readonly ctx?: string;
  readonly dataOut?: string;
  readonly repeat: number;
}

const testRun: Action<[string, TestRunOptions]> = ({ env, out }, file, options) => {
  const dataIn = options.data === undefined ? undefined : parseData(options.data);
  const ctxIn = options.ctx === undefined ? undefined : parseData(options.ctx);
  return withObject(env, file, options, (loaded) => {
    const program = only(loaded, options);
    const type = program.spec.progType;
    const zeros = progTypeById(program.info().type)?.testRun === 'packet' ? new Uint8Array(64) : undefined;
    const data = dataIn ?? zeros;
    const result = program.testRun({
      repeat: options.repeat,
      ...(data === undefined ? {} : { dataIn: data }),
      ...(ctxIn === undefined ? {} : { ctxIn }),
    });
    if (options.dataOut !== undefined) writeFile(options.dataOut, result.dataOut);
    const { retval, duration, dataOut, ctxOut } = result;
    if (options.json || options.pretty) {
      printJson(out, { retval, duration, data_out: dataOut, ctx_out: ctxOut }, options);
      return EXIT.ok;
    }
    if (data === zeros && zeros !== undefined)
      out.note(`no --data was given: the ${type} program gets 64 zero bytes`);
    if (dataOut.length > 0 && options.dataOut === undefined) out.write(hexdump(dataOut));
    out.line(`Return value: ${retval}, duration${options.repeat > 1 ? ' (average)' : ''}: ${duration}ns`);
    return EXIT.ok;
  });
};

export const PROG: CommandRow = {
  name: 'prog',
  declare(parent: Command, run: Runner): void {
    const prog = parent
      .command('prog')
      .summary("bpftool's program commands, on an object loaded for the call")
      .description('Shows, dumps and test-runs the programs of an object, in the shape of bpftool prog.');
    const common = (command: Command) =>
      jsonOptions(command.option('--program <name>', 'this program', collect))
        .addOption(programTypeOption())
        .addOption(engineOption());
    common(
      prog
        .command('list')
        .alias('show')
        .description('id, type, name, tag, sizes and maps')
        .argument('<file>', 'object file'),
    ).action(run(list));
    common(
      prog
        .command('dump')
        .description('instructions after rewriting (xlated), or what the JIT has made (jited)')
        .argument('<what>', 'xlated or jited')
        .argument('<file>', 'object file'),
    ).action(run(dump));
    common(
      prog
        .command('run')
        .description('test-runs a program (BPF_PROG_TEST_RUN)')
        .argument('<file>', 'object file')
        .option('--data <hex|@file>', 'packet, as hex or from a file')
        .option('--ctx <hex|@file>', 'context, as hex or from a file')
        .option('--data-out <file>', 'writes the packet as the program left it')
        .option('--repeat <n>', 'runs it this many times', positive, 1),
    ).action(run(testRun));
    withExamples(prog, [
      ['tsbpf prog show prog.bpf.o -p', 'what the kernel says of each program'],
      ['tsbpf prog dump jited prog.bpf.o --program NAME', 'the WebAssembly that runs'],
      ['tsbpf prog run prog.bpf.o --data @packet.bin --repeat 1000000', 'return value and time of a run'],
    ]);
  },
};
