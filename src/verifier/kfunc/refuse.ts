/** Refusals of calls of kernel functions: the log's text, and the reason as data. */
import type { RefusalKind } from '../../contracts/refusal.ts';
import type { ErrnoName } from '../../util/errno.ts';
import type { Env } from '../env.ts';
import { typeName } from '../registers.ts';
import type { Kfunc } from './types.ts';

/** Argument `index` (from 0) is not what the function takes. */
export function failArg(
  env: Env,
  kfunc: Kfunc,
  index: number,
  text: string,
  kind: RefusalKind = 'argument_type',
  errno: ErrnoName = 'EINVAL',
): never {
  return env.fail(errno, text, {
    kind,
    register: index + 1,
    argument: index + 1,
    function: kfunc.name,
    given: typeName(env.reg(index + 1).type),
  });
}
