/** `x/NFU ADDRESS`: memory as it was. */
import { fromUtf8 } from '../../util/bytes.ts';
import { UsageError } from '../errors.ts';
import type { DebugSession } from './view.ts';

const SIZES: Readonly<Record<string, number>> = { b: 1, h: 2, w: 4, g: 8 };
const PER_LINE = 16;
const MOST = 4096;

/** `x/4i $pc`: instructions from one on. */
function instructions({ debug, view }: DebugSession, from: string, number: number): void {
  const here = debug.inspect.location(debug.inspect.frame);
  const first =
    from === '$pc' || from === '' ? here.insn : Number(/^\*?(\d+)$/.exec(from)?.[1] ?? Number.NaN);
  if (Number.isNaN(first)) throw new UsageError('x/i needs the number of an instruction, or $pc', 'x/4i $pc');
  const shown = view
    .listing(here.program)
    .filter(({ index }) => index >= first)
    .slice(0, number);
  view.show(
    shown.map(
      ({ index, text }) => `${index === here.insn ? '=>' : '  '} ${String(index).padStart(4)}: ${text}`,
    ),
    { program: here.program, insns: shown.map(({ index, text }) => ({ index, text })) },
  );
}

export function examine(session: DebugSession, argument: string): void {
  const { debug, view } = session;
  const listing = /^\/(\d*)i\s*(.*)$/.exec(argument);
  if (listing !== null) {
    instructions(session, listing[2] ?? '', Math.min(Number(listing[1] || 1), MOST));
    return;
  }
  const match = /^(?:\/(\d*)([xducs]?)([bhwg]?)([xducs]?)\s+)?(.+)$/.exec(argument);
  if (match === null) throw new UsageError('x needs an address: x/8xb $r1');
  const [, times = '', first = '', unit = '', second = '', expression = ''] = match;
  const format = first || second || 'x';
  const size = SIZES[unit || (format === 'c' || format === 's' ? 'b' : 'w')]!;
  const number = times === '' ? 1 : Number(times);
  if (number < 1 || number * size > MOST) throw new UsageError(`x shows 1 to ${MOST} bytes`);
  const address = debug.inspect.addressOf(expression);
  if (format === 's') {
    const bytes = debug.inspect.bytesAt(address, 256);
    const end = bytes.indexOf(0);
    const text = fromUtf8(bytes.subarray(0, end < 0 ? bytes.length : end));
    view.show(`${hex(address)}: ${JSON.stringify(text)}`, { address: hex(address), text });
    return;
  }
  const bytes = debug.inspect.bytesAt(address, number * size);
  const view_ = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const units = Array.from({ length: number }, (_, i) => unitText(view_, i * size, size, format));
  const perLine = PER_LINE / size;
  const lines: string[] = [];
  for (let i = 0; i < number; i += perLine)
    lines.push(`${hex(address + BigInt(i * size))}: ${units.slice(i, i + perLine).join('  ')}`);
  view.show(lines, { address: hex(address), size, values: units });
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

function unitText(view: DataView, at: number, size: number, format: string): string {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(view.getUint8(at + i));
  if (format === 'd') return BigInt.asIntN(size * 8, value).toString();
  if (format === 'u') return value.toString();
  if (format === 'c')
    return value >= 0x20n && value < 0x7fn
      ? `'${String.fromCharCode(Number(value))}'`
      : `'\\x${value.toString(16).padStart(2, '0')}'`;
  return `0x${value.toString(16).padStart(size * 2, '0')}`;
}
