/** `cflags`: of a C compiler's flags those that a BCC program is given; what means nothing here is passed over. */
import type { CompileOptions } from '../compiler/index.ts';
import { BpfError } from '../util/errors.ts';

type Define = NonNullable<CompileOptions['defines']>[number];

export type FlagOptions = Pick<CompileOptions, 'defines' | 'includes' | 'forced' | 'warnings' | 'noWarnings'>;

/** Errors: EINVAL for a flag that lacks its value. */
export function readCflags(flags: readonly string[]): FlagOptions {
  const defines: Define[] = [];
  const user: string[] = [];
  const system: string[] = [];
  const forced: string[] = [];
  const warnings: string[] = [];
  let noWarnings = false;
  const takers: Readonly<Record<string, (value: string) => void>> = {
    '-D': (text) => {
      const at = text.indexOf('=');
      defines.push(at < 0 ? { define: text } : { define: text.slice(0, at), value: text.slice(at + 1) });
    },
    '-U': (text) => {
      defines.push({ undefine: text });
    },
    '-I': (path) => {
      user.push(path);
    },
    '-isystem': (path) => {
      system.push(path);
    },
    '-include': (path) => {
      forced.push(path);
    },
  };
  for (let i = 0; i < flags.length; i++) {
    const flag = flags[i]!;
    const name = Object.keys(takers).find((one) => flag.startsWith(one));
    if (name !== undefined) {
      const value = flag.length > name.length ? flag.slice(name.length) : flags[++i];
      if (value === undefined) throw new BpfError('EINVAL', `cflags: ${name} lacks its value`);
      takers[name]!(value);
    } else if (flag === '-w') noWarnings = true;
    else if (flag.startsWith('-W')) warnings.push(flag.slice(2));
  }
  return { defines, includes: { user, system }, forced, warnings, noWarnings };
}
