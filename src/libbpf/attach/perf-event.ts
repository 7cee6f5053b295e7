/** perf_event programs: sampled by time or by a counter, on one CPU, on all, or where one process runs. */
import type { Kernel } from '../../contracts/kernel.ts';
import { fromUtf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import { BpfLink, linkParts } from '../link.ts';
import { onPerfEvent } from './support.ts';
import type { AttachRow } from './types.ts';

/** perf_event_open(2): wherever the process runs. */
const ANY_CPU = -1;

export const PERF_EVENT: AttachRow = {
  ready: (options) => options.perfEvent !== undefined,
  attach(kernel, program, options) {
    const sampling = options.perfEvent;
    if (sampling === undefined)
      throw new BpfError('EINVAL', `program '${program.name}' does not say which event it samples`, {
        hint: `give 'perfEvent', e.g. { type: PERF_TYPE_SOFTWARE, config: PERF_COUNT_SW_CPU_CLOCK, frequency: 99 }`,
      });
    const { pid, cookie } = options;
    const { type, config, period, frequency } = sampling;
    if ((period === undefined) === (frequency === undefined))
      throw new BpfError('EINVAL', `'perfEvent' wants one of 'period' and 'frequency'`);
    const on = (cpu: number): BpfLink =>
      onPerfEvent(
        kernel,
        program,
        cookie,
        {
          kind: 'sampling',
          type,
          config,
          cpu,
          ...(period === undefined ? { frequency: frequency as number } : { period }),
          ...(pid === undefined ? {} : { pid }),
        },
        `perf event ${type}:${config}${cpu === ANY_CPU ? ` of process ${pid}` : ` on CPU ${cpu}`}`,
      );
    const one = sampling.cpu ?? (pid === undefined ? undefined : ANY_CPU);
    if (one !== undefined) return on(one);
    const parts = linkParts(onlineCpus(kernel), on);
    return new BpfLink(kernel, undefined, `perf event ${type}:${config} on ${parts.length} CPUs`, { parts });
  },
};

/** CPUs that run at the moment; all possible ones where nobody says. */
export function onlineCpus(kernel: Kernel): number[] {
  const text = kernel.files?.read('/sys/devices/system/cpu/online');
  if (!text) return Array.from({ length: kernel.features().possibleCpus }, (_, cpu) => cpu);
  const cpus: number[] = [];
  for (const range of fromUtf8(text).trim().split(',')) {
    const [first, last = first] = range.split('-').map(Number);
    for (let cpu = first; cpu <= last && cpus.length < 65_536; cpu++) cpus.push(cpu);
  }
  return cpus;
}
