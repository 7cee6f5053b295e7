/**
 * Multi-kprobes (fprobe, Linux 5.18): one link on all functions that a pattern names. Which functions can be probed tracefs says;
 * where a name stands for several functions its addresses are taken, as the kernel refuses such a name.
 */
import type { Kernel } from '../../contracts/kernel.ts';
import { BPF_ATTACH_TYPE } from '../../uapi/index.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { globMatch, isGlob } from '../glob.ts';
import { BpfLink } from '../link.ts';
import { KernelSymbols } from '../symbols/kallsyms.ts';
import { machineFiles, targetOf } from './support.ts';
import type { AttachOptions, AttachRow } from './types.ts';

/** BPF_F_KPROBE_MULTI_RETURN */
const RETURN = 1;

function multi(what: string, attachType: number, flags: number): AttachRow {
  return {
    ready: (options, target) =>
      Boolean(target) || options.symbols !== undefined || options.addresses !== undefined,
    attach(kernel, program, options) {
      const given = options.symbols !== undefined || options.addresses !== undefined;
      const pattern = given ? undefined : targetOf(program, options, 'functions');
      const fd = kernel.linkCreate({
        progFd: program.fd,
        attachType,
        kprobeMulti: {
          ...(pattern === undefined ? explicit(options) : functions(kernel, pattern)),
          ...(options.cookies === undefined ? {} : { cookies: options.cookies }),
          flags,
        },
      });
      return new BpfLink(kernel, fd, `${what} ${pattern ?? 'of several functions'}`);
    },
  };
}

export const KPROBE_MULTI = multi('multi-kprobe', BPF_ATTACH_TYPE.BPF_TRACE_KPROBE_MULTI, 0);
export const KRETPROBE_MULTI = multi('multi-kretprobe', BPF_ATTACH_TYPE.BPF_TRACE_KPROBE_MULTI, RETURN);
export const KPROBE_SESSION = multi('kprobe session', BPF_ATTACH_TYPE.BPF_TRACE_KPROBE_SESSION, 0);

type Places = { readonly symbols: readonly string[] } | { readonly addresses: readonly bigint[] };

function explicit(options: AttachOptions): Places {
  if (options.symbols !== undefined && options.addresses !== undefined)
    throw new BpfError('EINVAL', `a multi-kprobe takes 'symbols' or 'addresses', not both`);
  return options.symbols === undefined
    ? { addresses: options.addresses ?? [] }
    : { symbols: options.symbols };
}

function functions(kernel: Kernel, pattern: string): Places {
  if (!isGlob(pattern)) return { symbols: [pattern] };
  const files = machineFiles(kernel, `functions ${pattern}`);
  const list = files.readTracing('available_filter_functions');
  if (list === null)
    throw new BpfError(
      'ENOENT',
      `which functions '${pattern}' stands for cannot be told: there is no available_filter_functions`,
      {
        hint: 'the kernel is built without CONFIG_DYNAMIC_FTRACE; name the functions one by one',
      },
    );
  const names = matchingFunctions(fromUtf8(list), pattern);
  if (names.length === 0) throw new BpfError('ENOENT', `no function that can be probed matches '${pattern}'`);
  const kallsyms = files.read('/proc/kallsyms');
  const table = kallsyms === null ? undefined : KernelSymbols.parse(kallsyms);
  const addresses = names.flatMap((name) =>
    (table?.find(name) ?? []).filter(({ type }) => /[tTwW]/.test(type)).map(({ address }) => address),
  );
  return addresses.length >= names.length && addresses.every((address) => address !== 0n)
    ? { addresses: [...new Set(addresses)] }
    : { symbols: names };
}

/** Names of `available_filter_functions` (`name` or `name [module]` a line) that match, each once. */
export function matchingFunctions(list: string, pattern: string): string[] {
  const names = new Set<string>();
  for (const line of list.split('\n')) {
    const name = line.split(/\s/, 1)[0];
    // Names of __ftrace_invalid_address___… stand for code that is gone.
    if (name !== '' && !name.startsWith('__ftrace_invalid_address__') && globMatch(name, pattern))
      names.add(name);
  }
  return [...names];
}
