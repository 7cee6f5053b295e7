/** Small builders for header text: one macro a line, families of macros that differ in a number. */

/** `#define head body`; a body over several lines becomes one. */
export function macro(head: string, body: string): string {
  return `#define ${head} ${body.replace(/\s*\n\s*/g, ' ').trim()}\n`;
}

/** Names only: `a, b, c`. */
export function letters(count: number, prefix = 'a'): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
}

/** A header with its include guard. */
export function guarded(guard: string, body: string): string {
  return `#ifndef ${guard}\n#define ${guard}\n${body}\n#endif\n`;
}

/** `#define NAME value` for each entry of a table. */
export function constants(table: Readonly<Record<string, number | string>>): string {
  return Object.entries(table)
    .map(([name, value]) => `#define ${name} ${value}\n`)
    .join('');
}

/** `enum name { A = 1, … };` from a table. */
export function enumeration(name: string, table: Readonly<Record<string, number | bigint>>): string {
  const members = Object.entries(table).map(([member, value]) => `\t${member} = ${exact(value)},\n`);
  return `enum ${name}${name === '' ? '' : ' '}{\n${members.join('')}};\n`;
}

/** Beyond what a number holds exactly stand 32-bit values that BTF extended by their sign. */
function exact(value: number | bigint): string {
  const large = typeof value === 'number' && value > Number.MAX_SAFE_INTEGER;
  return large ? `0x${BigInt.asUintN(32, BigInt(value)).toString(16)}` : String(value);
}
