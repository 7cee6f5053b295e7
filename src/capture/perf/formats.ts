/**
 * What perf.data says of the tracepoints in it: the format files of tracefs, as perf's tracing_data section has them
 * (tools/perf/Documentation/perf.data-file-format.txt, HEADER_TRACING_DATA; the layout is trace-cmd's, trace-cmd.dat(5)).
 */
import { fromUtf8 } from '../../util/bytes.ts';
import { BpfError } from '../../util/errors.ts';
import type { PerfBytes } from './reader.ts';

export interface TracepointFormat {
  readonly category: string;
  readonly name: string;
  /** The whole file. */
  readonly text: string;
}

const MAGIC = [0x17, 0x08, 0x44];
const MOST_FILES = 65_536;

/** By id: what the events' attributes call `config`. */
export function readFormats(data: PerfBytes): Map<bigint, TracepointFormat> {
  const formats = new Map<bigint, TracepointFormat>();
  const magic = data.bytes(3);
  if (MAGIC.some((byte, i) => magic[i] !== byte))
    throw new BpfError('EINVAL', 'perf.data: the formats of the tracepoints do not begin as they must');
  data.text(); // "tracing", its version
  const [bigEndian] = data.bytes(1);
  if (bigEndian !== 0)
    throw new BpfError(
      'EOPNOTSUPP',
      'perf.data of a big-endian machine: the embedded kernel is little-endian',
    );
  data.skip(1 + 4); // size of long, of a page
  for (let i = 0; i < 2; i++) {
    data.text(); // header_page, header_event
    data.skip(data.size());
  }
  const own = count(data);
  for (let i = 0; i < own; i++) data.skip(data.size());
  const systems = count(data);
  for (let i = 0; i < systems; i++) {
    const category = data.text();
    const events = count(data);
    for (let k = 0; k < events; k++) {
      const text = fromUtf8(data.bytes(data.size()));
      const name = /^name: (\S+)$/m.exec(text)?.[1];
      const id = /^ID: (\d{1,10})$/m.exec(text)?.[1];
      if (name !== undefined && id !== undefined) formats.set(BigInt(id), { category, name, text });
    }
  }
  return formats;
}

function count(data: PerfBytes): number {
  const value = data.u32();
  if (value > MOST_FILES) throw new BpfError('EINVAL', `perf.data: ${value} format files`);
  return value;
}
