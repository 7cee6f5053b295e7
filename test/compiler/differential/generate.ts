/**
 * Random C programs without undefined behaviour, for the comparison with clang: XDP programs that read 64 bytes of packet, compute with
 * integers of all widths, structs, bit-fields, unions, arrays, loops, switches, calls, pointers, and leave their results in `out`.
 */

/** A small generator of random numbers (xorshift32): the same programs for the same seed everywhere. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = (seed * 2654435761 + 0x9e3779b9) >>> 0 || 1;
    for (let i = 0; i < 8; i++) this.next();
  }

  next(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state;
  }

  below(n: number): number {
    return this.next() % n;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

const TYPES = ['s8', 'u8', 's16', 'u16', 's32', 'u32', 's64', 'u64'] as const;
type TypeName = (typeof TYPES)[number];
const BITS: Readonly<Record<TypeName, number>> = {
  s8: 8,
  u8: 8,
  s16: 16,
  u16: 16,
  s32: 32,
  u32: 32,
  s64: 64,
  u64: 64,
};

interface Variable {
  readonly text: string;
  readonly type: TypeName;
  readonly writable: boolean;
}

interface Helper {
  readonly name: string;
  readonly result: TypeName;
  readonly params: readonly TypeName[];
}

const PRELUDE = `#define SEC(x) __attribute__((section(x), used))
typedef signed char s8; typedef unsigned char u8; typedef short s16; typedef unsigned short u16;
typedef int s32; typedef unsigned int u32; typedef long long s64; typedef unsigned long long u64;
struct xdp_md { u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; };
struct __sk_buff { u32 before[19], data, data_end; };
u64 out[16];
`;

class Generator {
  private readonly random: Random;
  private readonly signedDivision: boolean;
  private readonly lines: string[] = [];
  private readonly helpers: Helper[] = [];
  private variables: Variable[] = [];
  private arrays: { readonly name: string; readonly type: TypeName; readonly length: number }[] = [];
  private nextName = 0;
  private depth = 0;
  private budget = 0;
  private loops = 0;
  private readonly suffix: string;
  private readonly section: 'xdp' | 'tc';

  constructor(seed: number, signedDivision: boolean, suffix: string, section: 'xdp' | 'tc') {
    this.random = new Random(seed);
    this.signedDivision = signedDivision;
    this.suffix = suffix;
    this.section = section;
  }

  private fresh(prefix: string): string {
    return `${prefix}${this.nextName++}`;
  }

  private constant(type: TypeName): string {
    const r = this.random;
    const bits = BITS[type];
    switch (r.below(6)) {
      case 0:
        return String(r.below(4));
      case 1:
        return String(r.below(256));
      case 2:
        return `0x${(r.next() >>> 0).toString(16)}u`;
      case 3:
        return bits === 64
          ? `0x${r.next().toString(16)}${r.next().toString(16).padStart(8, '0')}ull`
          : `${r.below(65536)}`;
      case 4:
        return `-${1 + r.below(200)}`;
      default:
        return `${1 << r.below(16)}`;
    }
  }

  /** An expression whose value is that of `type` after the cast that is written around it. */
  expr(type: TypeName, depth = 0): string {
    const r = this.random;
    const unsigned = type.startsWith('u') ? type : (`u${type.slice(1)}` as TypeName);
    if (depth > 3 || this.budget-- < 0 || r.chance(25)) {
      const candidates = this.variables;
      if (candidates.length > 0 && r.chance(75)) {
        const variable = r.pick(candidates);
        return variable.type === type ? variable.text : `(${type})${variable.text}`;
      }
      if (this.arrays.length > 0 && r.chance(40)) {
        const array = r.pick(this.arrays);
        return `(${type})${array.name}[(${this.expr('u32', depth + 2)}) & ${array.length - 1}]`;
      }
      return `(${type})${this.constant(type)}`;
    }
    const sub = (t: TypeName): string => `(${this.expr(t, depth + 1)})`;
    switch (r.below(16)) {
      case 0:
      case 1:
      case 2: {
        const op = r.pick(['+', '-', '*']);
        return `(${type})((${unsigned})${sub(unsigned)} ${op} (u32)1 * ${sub(unsigned)})`;
      }
      case 3:
      case 4: {
        const op = r.pick(['&', '|', '^']);
        return `(${type})(${sub(type)} ${op} ${sub(type)})`;
      }
      case 5: {
        const wide = r.pick(['u32', 'u64'] as const);
        // The cast: a bit-field is as wide as its bits, and a shift by more is undefined.
        return `(${type})((${wide})${sub(wide)} << (${sub('u32')} & ${BITS[wide] - 1}))`;
      }
      case 6: {
        const wide = r.pick(['u32', 'u64', 's32', 's64'] as const);
        return `(${type})((${wide})${sub(wide)} >> (${sub('u32')} & ${BITS[wide] - 1}))`;
      }
      case 7: {
        const wide = r.pick(['u8', 'u16', 'u32', 'u64'] as const);
        return `(${type})(${sub(wide)} ${r.pick(['/', '%'])} (${wide})(${sub(wide)} | 1))`;
      }
      case 8: {
        const operand = r.pick(TYPES);
        return `(${type})(${sub(operand)} ${r.pick(['<', '>', '<=', '>=', '==', '!='])} ${sub(operand)})`;
      }
      case 9:
        return `(${type})(${sub(r.pick(TYPES))} ${r.pick(['&&', '||'])} ${sub(r.pick(TYPES))})`;
      case 10:
        return `(${type})(${this.condition(depth + 1)} ? ${sub(type)} : ${sub(type)})`;
      case 11:
        return `(${type})${r.pick(['~', '!'])}${sub(type)}`;
      case 12: {
        const narrow = r.pick(TYPES);
        return `(${type})(${narrow})${sub(r.pick(TYPES))}`;
      }
      case 13:
        if (this.helpers.length > 0) {
          const helper = r.pick(this.helpers);
          return `(${type})${helper.name}(${helper.params.map((param) => this.expr(param, depth + 2)).join(', ')})`;
        }
        return this.signedDivision
          ? `(${type})(${sub('s64')} / ${r.pick(['2', '3', '16', '1024'])})`
          : sub(type);
      case 14:
        return `(${type})__builtin_bswap${r.pick(['16', '32', '64'])}(${sub('u64')})`;
      default:
        return this.signedDivision
          ? `(${type})(${sub('s32')} % ${r.pick(['2', '7', '64'])})`
          : `(${type})-${sub('u32')}`;
    }
  }

  condition(depth = 0): string {
    const type = this.random.pick(TYPES);
    const op = this.random.pick(['<', '>', '<=', '>=', '==', '!=']);
    const right = this.random.chance(50) ? `(${type})${this.constant(type)}` : this.expr(type, depth + 1);
    const one = `(${this.expr(type, depth + 1)}) ${op} (${right})`;
    if (this.random.chance(20))
      return `(${one} ${this.random.pick(['&&', '||'])} ${this.condition(depth + 2)})`;
    return `(${one})`;
  }

  private put(text: string): void {
    this.lines.push('\t'.repeat(this.depth + 1) + text);
  }

  private assign(): void {
    const r = this.random;
    const targets = this.variables.filter((variable) => variable.writable);
    if (targets.length === 0) return;
    const target = r.pick(targets);
    switch (r.below(4)) {
      case 0:
        if (BITS[target.type] < 32 || target.type.startsWith('u')) {
          this.put(`${target.text}${r.pick(['++', '--'])};`);
          return;
        }
        break;
      case 1:
        this.put(`${target.text} ${r.pick(['^=', '|=', '&='])} ${this.expr(target.type)};`);
        return;
      case 2:
        if (target.type.startsWith('u')) {
          this.put(`${target.text} ${r.pick(['+=', '-='])} ${this.expr(target.type)};`);
          return;
        }
        break;
      default:
    }
    this.put(`${target.text} = ${this.expr(target.type)};`);
  }

  private block(count: number, body: () => void): void {
    const saved = this.variables;
    const arrays = this.arrays;
    this.variables = [...saved];
    this.arrays = [...arrays];
    this.depth++;
    for (let i = 0; i < count; i++) body();
    this.depth--;
    this.variables = saved;
    this.arrays = arrays;
  }

  statement(): void {
    const r = this.random;
    this.budget = 10;
    const kind = this.depth > 2 ? r.below(5) : r.below(13);
    switch (kind) {
      case 0: {
        const type = r.pick(TYPES);
        const name = this.fresh('v');
        this.put(`${type} ${name} = ${this.expr(type)};`);
        this.variables.push({ text: name, type, writable: true });
        return;
      }
      case 5:
        this.put(`if (${this.condition()}) {`);
        this.block(1 + r.below(3), () => this.statement());
        if (r.chance(50)) {
          this.put('} else {');
          this.block(1 + r.below(3), () => this.statement());
        }
        this.put('}');
        return;
      case 6: {
        if (this.loops >= 2) break;
        this.loops++;
        const name = this.fresh('i');
        const count = 1 + r.below(5);
        const type = r.pick(['s32', 'u32', 'u64', 'u8'] as const);
        if (r.chance(25)) this.put(r.pick(['_Pragma("unroll")', '_Pragma("clang loop unroll(disable)")']));
        this.put(`for (${type} ${name} = 0; ${name} < ${count}; ${name}++) {`);
        this.block(0, () => {});
        const saved = this.variables;
        this.variables = [...saved, { text: name, type, writable: false }];
        this.block(1 + r.below(3), () => this.statement());
        if (r.chance(30)) this.put(`\tif (${this.condition()}) ${r.pick(['break', 'continue'])};`);
        this.variables = saved;
        this.put('}');
        this.loops--;
        return;
      }
      case 7: {
        this.put(`switch ((u32)(${this.expr('u32')}) ${r.pick(['& 7', '% 5', '& 15'])}) {`);
        const count = 2 + r.below(4);
        for (let i = 0; i < count; i++) {
          this.put(r.chance(20) ? `case ${i * 3} ... ${i * 3 + 1}:` : `case ${i * 3}:`);
          this.block(1, () => this.assign());
          if (r.chance(70)) this.put('\tbreak;');
        }
        if (r.chance(60)) {
          this.put('default:');
          this.block(1, () => this.assign());
        }
        this.put('}');
        return;
      }
      case 8: {
        const name = this.fresh('st');
        const a = 1 + r.below(31);
        const b = 1 + r.below(31);
        const c = 1 + r.below(40);
        this.put(
          `struct { u32 a : ${a}; s32 b : ${b}; u64 c : ${c}; u8 d; s16 e; union { u32 f; u8 g[4]; }; } ${name} = { .a = ${this.expr('u32')}, .d = ${this.expr('u8')}, .f = ${this.expr('u32')} };`,
        );
        for (const [field, type] of [
          ['a', 'u32'],
          ['b', 's32'],
          ['c', 'u64'],
          ['d', 'u8'],
          ['e', 's16'],
          ['f', 'u32'],
          ['g[1]', 'u8'],
          ['g[3]', 'u8'],
        ] as const)
          this.variables.push({ text: `${name}.${field}`, type, writable: true });
        return;
      }
      case 9: {
        const name = this.fresh('a');
        const type = r.pick(TYPES);
        const length = r.pick([2, 4, 8]);
        this.put(`${type} ${name}[${length}] = { ${this.expr(type)}, ${this.expr(type)} };`);
        for (let i = 0; i < 2; i++) this.variables.push({ text: `${name}[${i}]`, type, writable: true });
        return;
      }
      case 10: {
        const targets = this.variables.filter(
          (variable) => variable.writable && /^v\d+$/.test(variable.text),
        );
        if (targets.length === 0) break;
        const target = r.pick(targets);
        const name = this.fresh('p');
        this.put(`${target.type} *${name} = &${target.text};`);
        this.variables.push({ text: `(*${name})`, type: target.type, writable: true });
        return;
      }
      case 11: {
        const from = this.fresh('m');
        const size = 1 + r.below(24);
        this.put(`u8 ${from}[32]; __builtin_memset(${from}, ${r.below(256)}, 32);`);
        this.put(`__builtin_memcpy(${from} + ${r.below(8)}, data + ${r.below(40)}, ${size});`);
        this.variables.push({ text: `${from}[${r.below(32)}]`, type: 'u8', writable: true });
        this.variables.push({ text: `${from}[${r.below(32)}]`, type: 'u8', writable: true });
        if (r.chance(30))
          this.put(
            `out[${r.below(16)}] += __builtin_memcmp(${from}, data + ${r.below(16)}, ${1 + r.below(16)}) ? 1 : 2;`,
          );
        return;
      }
      case 12:
        this.put(`out[${r.below(16)}] ${r.pick(['+=', '^=', '='])} ${this.expr('u64')};`);
        return;
      default:
    }
    this.assign();
  }

  private inputs(): void {
    this.variables = [];
    for (let i = 0; i < 4; i++) {
      const type = this.random.pick(TYPES);
      const name = this.fresh('in');
      this.put(`${type} ${name} = *(${type} *)(data + ${8 * this.random.below(8)});`);
      this.variables.push({ text: name, type, writable: true });
    }
  }

  private function(): void {
    const r = this.random;
    const params = Array.from({ length: 1 + r.below(4) }, () => r.pick(TYPES));
    const result = r.pick(TYPES);
    const name = this.fresh('f') + this.suffix;
    const kind = r.pick([
      'static __attribute__((noinline))',
      'static inline __attribute__((always_inline))',
      'static',
    ]);
    this.lines.push(
      `${kind} ${result} ${name}(${params.map((param, i) => `${param} p${i}`).join(', ')})`,
      '{',
    );
    this.variables = params.map((type, i) => ({ text: `p${i}`, type, writable: true }));
    this.arrays = [];
    // No packet here.
    const count = 1 + r.below(3);
    for (let i = 0; i < count; i++) {
      this.budget = 8;
      if (r.chance(40)) {
        this.put(`if (${this.condition()}) {`);
        this.block(1, () => this.assign());
        if (r.chance(30)) this.put(`\treturn ${this.expr(result)};`);
        this.put('}');
      } else this.assign();
    }
    this.budget = 8;
    this.put(`return ${this.expr(result)};`);
    this.lines.push('}', '');
    this.helpers.push({ name, result, params });
  }

  program(): string {
    const r = this.random;
    const tables = r.below(3);
    for (let i = 0; i < tables; i++) {
      const type = r.pick(TYPES);
      const name = this.fresh('t') + this.suffix;
      const kind = r.pick(['static const', 'const volatile', 'static', '']);
      const values = Array.from({ length: 4 }, () => `(${type})${this.constant(type)}`);
      this.lines.push(`${kind} ${type} ${name}[4] = { ${values.join(', ')} };`);
      this.globals.push({ name, type, length: 4 });
    }
    const functions = r.below(4);
    for (let i = 0; i < functions; i++) this.function();
    const context = this.section === 'xdp' ? 'xdp_md' : '__sk_buff';
    this.lines.push(`SEC("${this.section}") int prog${this.suffix}(struct ${context} *ctx)`, '{');
    this.lines.push(
      '\tu8 *data = (u8 *)(long)ctx->data, *end = (u8 *)(long)ctx->data_end;',
      '\tif (data + 64 > end) return 77;',
    );
    this.arrays = [...this.globals];
    this.inputs();
    const count = 3 + r.below(9);
    for (let i = 0; i < count; i++) this.statement();
    for (const variable of this.variables.slice(-14))
      this.put(`out[${r.below(16)}] ^= (u64)${variable.text} + ${r.below(1000)};`);
    this.budget = 10;
    this.put(`return ${this.expr('s32')};`);
    this.lines.push('}', '');
    return this.lines.join('\n');
  }

  private readonly globals: { name: string; type: TypeName; length: number }[] = [];
}

export interface GenerateOptions {
  /** Instruction sets before v4 have no signed division. */
  readonly signedDivision?: boolean;
  /** What Linux runs over a packet: for `tc` a test run is a hundred times as fast as for `xdp`. */
  readonly section?: 'xdp' | 'tc';
}

const LICENSE = 'char LICENSE[] SEC("license") = "GPL";\n';

/** The program of a seed, `prog`. */
export function generateProgram(seed: number, options: GenerateOptions = {}): string {
  const { signedDivision = false, section = 'xdp' } = options;
  return `${PRELUDE}${new Generator(seed, signedDivision, '', section).program()}${LICENSE}`;
}

/** The programs of many seeds in one source: `prog_1`, `prog_2`… */
export function generateUnit(seeds: readonly number[], options: GenerateOptions = {}): string {
  const { signedDivision = false, section = 'xdp' } = options;
  const programs = seeds.map((seed) => new Generator(seed, signedDivision, `_${seed}`, section).program());
  return `${PRELUDE}${programs.join('')}${LICENSE}`;
}
