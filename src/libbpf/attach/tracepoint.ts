/** Tracepoints by `category/name`: a program on a perf event of the tracepoint. */
import { BpfError } from '../../util/errors.ts';
import { byTarget, onPerfEvent, targetOf } from './support.ts';
import type { AttachRow } from './types.ts';

export const TRACEPOINT: AttachRow = {
  ready: byTarget,
  attach(kernel, program, options) {
    const target = targetOf(program, options, 'tracepoint');
    const [category, name, ...rest] = target.split('/');
    if (!category || !name || rest.length > 0)
      throw new BpfError('EINVAL', `'${target}' is no tracepoint: expected category/name`);
    const { pid, cookie } = options;
    const attr = { kind: 'tracepoint', category, name, ...(pid === undefined ? {} : { pid }) } as const;
    return onPerfEvent(kernel, program, cookie, attr, `tracepoint ${target}`);
  },
};
