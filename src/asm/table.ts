/**
 * The instruction table: one row per instruction of RFC 9669, of CPU versions 1 to 4, and of the kernels after it
 * (may_goto, load-acquire, store-release, address space casts).
 *
 * A row says how the instruction is encoded and how it is written; decoder checks, assembler, disassembler, builder and
 * tests read the rows. Invariant: for every opcode byte, the rows that share it differ in `fixed`, so that an
 * instruction matches at most one row (`rowOf`).
 *
 * Text templates hold literal tokens and placeholders in braces:
 *   {r.dst} {r.src}  64-bit register          {w.dst} {w.src}  the same register, 32-bit name
 *   {dec} {hex} {shex}  the immediate: signed decimal, unsigned hexadecimal, signed hexadecimal
 *   {off} {soff}     memory offset: `+8` and `+ 0x8`
 *   {pc} {pc32}      jump distance in the offset, in the immediate: `pc+3`   {rel} {rel32}  the same as `+0x3`
 *   {imm64} {s64}    64-bit immediate of two slots, kernel's and LLVM's way
 *   {fd} {idx} {add} {btf} {func}  what the pseudo loads mean                   {as.to} {as.from}  address spaces
 *   {helper} {sub} {kfunc}         what a call names
 */
import {
  ALU_OP,
  ATOMIC,
  CALL,
  CLASS,
  JMP_OP,
  LD_IMM64,
  MODE,
  MOV_OFF,
  PSEUDO,
  SIZE,
  SOURCE,
} from './opcodes.ts';

/** A field of the encoding besides the opcode. `imm2` is the immediate of the second slot. */
export type InsnField = 'dst' | 'src' | 'off' | 'imm' | 'imm2';

export type InsnGroup =
  | 'alu32'
  | 'alu64'
  | 'jmp'
  | 'jmp32'
  | 'load'
  | 'store'
  | 'atomic'
  | 'imm64'
  | 'packet'
  | 'call'
  | 'exit';

export interface InsnRow {
  /** Unique: `add64_imm`, `ldx8`, `jeq32_reg`, `atomic_fetch_add64`. */
  readonly name: string;
  /** The opcode byte. */
  readonly code: number;
  readonly group: InsnGroup;
  /** The operation without width and source: `add`, `jeq`, `ldx`, `xchg`. */
  readonly op: string;
  /** Bits that the operation works on, or that the access moves; 0 where it has no meaning. */
  readonly width: 0 | 8 | 16 | 32 | 64;
  readonly source: 'imm' | 'reg' | 'none';
  /** Values of fields that tell this instruction from others of the same opcode. */
  readonly fixed: Readonly<Partial<Record<InsnField, number>>>;
  /** Fields that are operands; every other field must be zero or as `fixed` says. */
  readonly fields: readonly InsnField[];
  /** Operands that the text does not show (the fd array index of a kfunc call). */
  readonly hidden: readonly InsnField[];
  /** As the kernel writes it in its verifier log. */
  readonly kernel: string;
  /** As llvm-objdump --mcpu=v4 writes it; null where LLVM has no such instruction. */
  readonly llvm: string | null;
  readonly slots: 1 | 2;
  /** CPU version of clang's -mcpu, or `kernel` where no version names it. */
  readonly version: 'v1' | 'v2' | 'v3' | 'v4' | 'kernel';
  /** Made by the kernel for itself; refused in a program that is loaded. */
  readonly internal?: true;
}

const PLACEHOLDER_FIELD: Readonly<Record<string, readonly InsnField[]>> = {
  'r.dst': ['dst'],
  'w.dst': ['dst'],
  'r.src': ['src'],
  'w.src': ['src'],
  dec: ['imm'],
  hex: ['imm'],
  shex: ['imm'],
  off: ['off'],
  soff: ['off'],
  pc: ['off'],
  rel: ['off'],
  pc32: ['imm'],
  rel32: ['imm'],
  imm64: ['imm', 'imm2'],
  s64: ['imm', 'imm2'],
  fd: ['imm'],
  idx: ['imm'],
  add: ['imm2'],
  btf: ['imm', 'imm2'],
  func: ['imm'],
  'as.to': ['imm'],
  'as.from': ['imm'],
  helper: ['imm'],
  sub: ['imm'],
  kfunc: ['imm'],
};

function fieldsOf(template: string): InsnField[] {
  const fields = new Set<InsnField>();
  for (const [, key] of template.matchAll(/\{([^}]+)\}/g))
    for (const f of PLACEHOLDER_FIELD[key!]!) fields.add(f);
  return [...fields];
}

type Draft = Pick<InsnRow, 'name' | 'code' | 'group' | 'op' | 'kernel'> &
  Partial<Omit<InsnRow, 'name' | 'code' | 'group' | 'op' | 'kernel' | 'fields'>>;

function row(draft: Draft): InsnRow {
  const hidden = draft.hidden ?? [];
  return {
    width: 0,
    source: 'none',
    fixed: {},
    llvm: draft.kernel,
    slots: 1,
    version: 'v1',
    ...draft,
    hidden,
    fields: [...fieldsOf(draft.kernel), ...hidden],
  };
}

// ---------------------------------------------------------------------------------------------------------------
// Arithmetic (RFC 9669 section 4.1 and 4.2)

const BINARY_OPS = [
  ['add', ALU_OP.ADD, '+='],
  ['sub', ALU_OP.SUB, '-='],
  ['mul', ALU_OP.MUL, '*='],
  ['div', ALU_OP.DIV, '/='],
  ['or', ALU_OP.OR, '|='],
  ['and', ALU_OP.AND, '&='],
  ['lsh', ALU_OP.LSH, '<<='],
  ['rsh', ALU_OP.RSH, '>>='],
  ['mod', ALU_OP.MOD, '%='],
  ['xor', ALU_OP.XOR, '^='],
  ['mov', ALU_OP.MOV, '='],
  ['arsh', ALU_OP.ARSH, 's>>='],
] as const;

const SIGNED_OPS = [
  ['sdiv', ALU_OP.DIV, 's/='],
  ['smod', ALU_OP.MOD, 's%='],
] as const;

function aluRows(width: 32 | 64): InsnRow[] {
  const cls = width === 64 ? CLASS.ALU64 : CLASS.ALU;
  const group = width === 64 ? 'alu64' : 'alu32';
  const r = width === 64 ? 'r' : 'w';
  const rows: InsnRow[] = [];
  const binary = (op: string, bits: number, sign: string, extra: Partial<Draft>) => {
    rows.push(
      row({
        name: `${op}${width}_imm`,
        code: cls | SOURCE.K | bits,
        group,
        op,
        width,
        source: 'imm',
        kernel: `{${r}.dst} ${sign} {dec}`,
        llvm: `{${r}.dst} ${sign} {shex}`,
        ...extra,
      }),
      row({
        name: `${op}${width}_reg`,
        code: cls | SOURCE.X | bits,
        group,
        op,
        width,
        source: 'reg',
        kernel: `{${r}.dst} ${sign} {${r}.src}`,
        ...extra,
      }),
    );
  };
  for (const [op, bits, sign] of BINARY_OPS) binary(op, bits, sign, {});
  for (const [op, bits, sign] of SIGNED_OPS) binary(op, bits, sign, { fixed: { off: 1 }, version: 'v4' });
  rows.push(
    row({
      name: `neg${width}`,
      code: cls | SOURCE.K | ALU_OP.NEG,
      group,
      op: 'neg',
      width,
      kernel: `{${r}.dst} = -{${r}.dst}`,
    }),
  );
  for (const bits of width === 64 ? [8, 16, 32] : [8, 16]) {
    rows.push(
      row({
        name: `movsx${bits}_${width}`,
        code: cls | SOURCE.X | ALU_OP.MOV,
        group,
        op: 'movsx',
        width,
        source: 'reg',
        fixed: { off: bits },
        version: 'v4',
        kernel: `{${r}.dst} = (s${bits}){${r}.src}`,
      }),
    );
  }
  return rows;
}

function swapRows(): InsnRow[] {
  const rows: InsnRow[] = [];
  for (const bits of [16, 32, 64] as const) {
    const swap = (name: string, code: number, group: InsnGroup, version: InsnRow['version']) =>
      rows.push(
        row({
          name: `${name}${bits}`,
          code,
          group,
          op: name,
          width: bits,
          fixed: { imm: bits },
          version,
          kernel: `{r.dst} = ${name}${bits} {r.dst}`,
        }),
      );
    swap('le', CLASS.ALU | SOURCE.K | ALU_OP.END, 'alu32', 'v1');
    swap('be', CLASS.ALU | SOURCE.X | ALU_OP.END, 'alu32', 'v1');
    swap('bswap', CLASS.ALU64 | ALU_OP.END, 'alu64', 'v4');
  }
  return rows;
}

const ADDRESS_ROWS: readonly InsnRow[] = [
  row({
    name: 'addr_space_cast',
    code: CLASS.ALU64 | SOURCE.X | ALU_OP.MOV,
    group: 'alu64',
    op: 'addr_space_cast',
    width: 64,
    source: 'reg',
    fixed: { off: MOV_OFF.ADDR_SPACE_CAST },
    version: 'kernel',
    kernel: '{r.dst} = addr_space_cast({r.src}, {as.to}, {as.from})',
  }),
  row({
    name: 'mov_percpu',
    code: CLASS.ALU64 | SOURCE.X | ALU_OP.MOV,
    group: 'alu64',
    op: 'mov_percpu',
    width: 64,
    source: 'reg',
    fixed: { off: MOV_OFF.PERCPU },
    version: 'kernel',
    kernel: '{r.dst} = &(void __percpu *)({r.src})',
    llvm: null,
    internal: true,
  }),
];

// ---------------------------------------------------------------------------------------------------------------
// Jumps and calls (RFC 9669 section 4.3)

const JUMP_OPS = [
  ['jeq', JMP_OP.JEQ, '==', 'v1'],
  ['jgt', JMP_OP.JGT, '>', 'v1'],
  ['jge', JMP_OP.JGE, '>=', 'v1'],
  ['jset', JMP_OP.JSET, '&', 'v1'],
  ['jne', JMP_OP.JNE, '!=', 'v1'],
  ['jsgt', JMP_OP.JSGT, 's>', 'v1'],
  ['jsge', JMP_OP.JSGE, 's>=', 'v1'],
  ['jlt', JMP_OP.JLT, '<', 'v2'],
  ['jle', JMP_OP.JLE, '<=', 'v2'],
  ['jslt', JMP_OP.JSLT, 's<', 'v2'],
  ['jsle', JMP_OP.JSLE, 's<=', 'v2'],
] as const;

function jumpRows(width: 32 | 64): InsnRow[] {
  const cls = width === 64 ? CLASS.JMP : CLASS.JMP32;
  const group = width === 64 ? 'jmp' : 'jmp32';
  const r = width === 64 ? 'r' : 'w';
  const suffix = width === 64 ? '' : '32';
  return JUMP_OPS.flatMap(([op, bits, sign, version]) => [
    row({
      name: `${op}${suffix}_imm`,
      code: cls | SOURCE.K | bits,
      group,
      op,
      width,
      source: 'imm',
      version: width === 64 ? version : 'v3',
      kernel: `if {${r}.dst} ${sign} {hex} goto {pc}`,
      llvm: `if {${r}.dst} ${sign} {shex} goto {rel}`,
    }),
    row({
      name: `${op}${suffix}_reg`,
      code: cls | SOURCE.X | bits,
      group,
      op,
      width,
      source: 'reg',
      version: width === 64 ? version : 'v3',
      kernel: `if {${r}.dst} ${sign} {${r}.src} goto {pc}`,
      llvm: `if {${r}.dst} ${sign} {${r}.src} goto {rel}`,
    }),
  ]);
}

const FLOW_ROWS: readonly InsnRow[] = [
  row({
    name: 'ja',
    code: CLASS.JMP | JMP_OP.JA,
    group: 'jmp',
    op: 'ja',
    kernel: 'goto {pc}',
    llvm: 'goto {rel}',
  }),
  row({
    name: 'gotol',
    code: CLASS.JMP32 | JMP_OP.JA,
    group: 'jmp32',
    op: 'gotol',
    version: 'v4',
    kernel: 'gotol {pc32}',
    llvm: 'gotol {rel32}',
  }),
  row({
    name: 'may_goto',
    code: CLASS.JMP | JMP_OP.JCOND,
    group: 'jmp',
    op: 'may_goto',
    fixed: { src: 0 },
    version: 'kernel',
    kernel: 'may_goto {pc}',
    llvm: 'may_goto {rel}',
  }),
  row({
    name: 'call_helper',
    code: CLASS.JMP | JMP_OP.CALL,
    group: 'call',
    op: 'call',
    fixed: { src: CALL.HELPER },
    kernel: 'call {helper}',
    llvm: 'call {shex}',
  }),
  row({
    name: 'call_local',
    code: CLASS.JMP | JMP_OP.CALL,
    group: 'call',
    op: 'call',
    fixed: { src: CALL.LOCAL },
    kernel: 'call {sub}',
    llvm: 'call {shex}',
  }),
  row({
    name: 'call_kfunc',
    code: CLASS.JMP | JMP_OP.CALL,
    group: 'call',
    op: 'call',
    fixed: { src: CALL.KFUNC },
    hidden: ['off'],
    version: 'kernel',
    kernel: 'call {kfunc}',
    llvm: 'call {shex}',
  }),
  // Named by RFC 9669 as reserved; clang emits it for indirect calls and no kernel accepts it.
  row({
    name: 'callx',
    code: CLASS.JMP | JMP_OP.CALL | SOURCE.X,
    group: 'call',
    op: 'callx',
    source: 'reg',
    version: 'v4',
    kernel: 'callx {r.dst}',
  }),
  row({ name: 'exit', code: CLASS.JMP | JMP_OP.EXIT, group: 'exit', op: 'exit', kernel: 'exit' }),
];

// ---------------------------------------------------------------------------------------------------------------
// Loads, stores, atomics (RFC 9669 section 5)

const SIZES = [
  [8, SIZE.B],
  [16, SIZE.H],
  [32, SIZE.W],
  [64, SIZE.DW],
] as const;

function memoryRows(): InsnRow[] {
  const rows: InsnRow[] = [];
  for (const [width, size] of SIZES) {
    const r = width === 64 ? 'r' : 'w';
    const at = (type: string, reg: string, off: string) => `*(${type} *)({r.${reg}} {${off}})`;
    rows.push(
      row({
        name: `ldx${width}`,
        code: CLASS.LDX | MODE.MEM | size,
        group: 'load',
        op: 'ldx',
        width,
        source: 'reg',
        kernel: `{r.dst} = ${at(`u${width}`, 'src', 'off')}`,
        llvm: `{${r}.dst} = ${at(`u${width}`, 'src', 'soff')}`,
      }),
      row({
        name: `st${width}`,
        code: CLASS.ST | MODE.MEM | size,
        group: 'store',
        op: 'st',
        width,
        source: 'imm',
        kernel: `${at(`u${width}`, 'dst', 'off')} = {dec}`,
        llvm: `${at(`u${width}`, 'dst', 'soff')} = {shex}`,
      }),
      row({
        name: `stx${width}`,
        code: CLASS.STX | MODE.MEM | size,
        group: 'store',
        op: 'stx',
        width,
        source: 'reg',
        kernel: `${at(`u${width}`, 'dst', 'off')} = {r.src}`,
        llvm: `${at(`u${width}`, 'dst', 'soff')} = {${r}.src}`,
      }),
    );
    if (width !== 64) {
      rows.push(
        row({
          name: `ldxs${width}`,
          code: CLASS.LDX | MODE.MEMSX | size,
          group: 'load',
          op: 'ldxs',
          width,
          source: 'reg',
          version: 'v4',
          kernel: `{r.dst} = ${at(`s${width}`, 'src', 'off')}`,
          llvm: `{r.dst} = ${at(`s${width}`, 'src', 'soff')}`,
        }),
        row({
          name: `ldabs${width}`,
          code: CLASS.LD | MODE.ABS | size,
          group: 'packet',
          op: 'ldabs',
          width,
          source: 'imm',
          kernel: `r0 = *(u${width} *)skb[{dec}]`,
          llvm: `r0 = *(u${width} *)skb[{shex}]`,
        }),
        row({
          name: `ldind${width}`,
          code: CLASS.LD | MODE.IND | size,
          group: 'packet',
          op: 'ldind',
          width,
          source: 'reg',
          kernel: `r0 = *(u${width} *)skb[{r.src} + {dec}]`,
          llvm: `r0 = *(u${width} *)skb[{r.src}]`,
        }),
      );
    }
  }
  rows.push(
    row({
      name: 'nospec',
      code: CLASS.ST | MODE.NOSPEC,
      group: 'store',
      op: 'nospec',
      version: 'kernel',
      kernel: 'nospec',
      llvm: null,
      internal: true,
    }),
  );
  return rows;
}

const ATOMIC_OPS = [
  ['add', ATOMIC.ADD, '+='],
  ['or', ATOMIC.OR, '|='],
  ['and', ATOMIC.AND, '&='],
  ['xor', ATOMIC.XOR, '^='],
] as const;

function atomicRows(): InsnRow[] {
  const rows: InsnRow[] = [];
  const add = (width: 8 | 16 | 32 | 64, size: number, draft: Omit<Draft, 'code' | 'group'>) =>
    rows.push(
      row({
        code: CLASS.STX | MODE.ATOMIC | size,
        group: 'atomic',
        width,
        source: 'reg',
        version: 'v3',
        ...draft,
      }),
    );
  for (const [width, size] of SIZES) {
    const r = width === 64 ? 'r' : 'w';
    const n = width === 64 ? '64' : '';
    if (width >= 32) {
      for (const [op, imm, sign] of ATOMIC_OPS) {
        add(width, size, {
          name: `atomic_${op}${width}`,
          op: `atomic_${op}`,
          fixed: { imm },
          version: op === 'add' ? 'v1' : 'v3',
          kernel: `lock *(u${width} *)({r.dst} {off}) ${sign} {r.src}`,
          llvm: `lock *(u${width} *)({r.dst} {soff}) ${sign} {${r}.src}`,
        });
        add(width, size, {
          name: `atomic_fetch_${op}${width}`,
          op: `atomic_fetch_${op}`,
          fixed: { imm: imm | ATOMIC.FETCH },
          kernel: `{r.src} = atomic${n}_fetch_${op}((u${width} *)({r.dst} {off}), {r.src})`,
          llvm: `{${r}.src} = atomic_fetch_${op}((u${width} *)({r.dst} {soff}), {${r}.src})`,
        });
      }
      const suffix = width === 64 ? '_64' : '32_32';
      add(width, size, {
        name: `atomic_xchg${width}`,
        op: 'atomic_xchg',
        fixed: { imm: ATOMIC.XCHG },
        kernel: `{r.src} = atomic${n}_xchg((u${width} *)({r.dst} {off}), {r.src})`,
        llvm: `{${r}.src} = xchg${suffix}({r.dst} {soff}, {${r}.src})`,
      });
      add(width, size, {
        name: `atomic_cmpxchg${width}`,
        op: 'atomic_cmpxchg',
        fixed: { imm: ATOMIC.CMPXCHG },
        kernel: `r0 = atomic${n}_cmpxchg((u${width} *)({r.dst} {off}), r0, {r.src})`,
        llvm: `${r}0 = cmpxchg${suffix}({r.dst} {soff}, ${r}0, {${r}.src})`,
      });
    }
    // LLVM 20 and later; LLVM 19 reads them as an addition.
    add(width, size, {
      name: `load_acquire${width}`,
      op: 'load_acquire',
      fixed: { imm: ATOMIC.LOAD_ACQ },
      version: 'v4',
      kernel: `{r.dst} = load_acquire((u${width} *)({r.src} {off}))`,
      llvm: `{${r}.dst} = load_acquire((u${width} *)({r.src} {soff}))`,
    });
    add(width, size, {
      name: `store_release${width}`,
      op: 'store_release',
      fixed: { imm: ATOMIC.STORE_REL },
      version: 'v4',
      kernel: `store_release((u${width} *)({r.dst} {off}), {r.src})`,
      llvm: `store_release((u${width} *)({r.dst} {soff}), {${r}.src})`,
    });
  }
  return rows;
}

/** 64-bit immediate loads (RFC 9669 section 5.4). The kernel's log writes all of them as `rN = 0x…`. */
const IMM64_ROWS: readonly InsnRow[] = (
  [
    ['ld_imm64', PSEUDO.NONE, '{r.dst} = {imm64}'],
    ['ld_map_fd', PSEUDO.MAP_FD, '{r.dst} = map[{fd}]'],
    ['ld_map_value', PSEUDO.MAP_VALUE, '{r.dst} = map[{fd}][0]{add}'],
    ['ld_btf_id', PSEUDO.BTF_ID, '{r.dst} = btf_id[{btf}]'],
    ['ld_func', PSEUDO.FUNC, '{r.dst} = subprog[{func}]'],
    ['ld_map_idx', PSEUDO.MAP_IDX, '{r.dst} = map[{idx}]'],
    ['ld_map_idx_value', PSEUDO.MAP_IDX_VALUE, '{r.dst} = map[{idx}][0]{add}'],
  ] as const
).map(([name, src, kernel]) =>
  row({
    name,
    code: LD_IMM64,
    group: 'imm64',
    op: name,
    width: 64,
    source: 'imm',
    fixed: { src },
    slots: 2,
    kernel,
    llvm: src === PSEUDO.NONE ? '{r.dst} = {s64} ll' : `ld_pseudo\t{r.dst}, 0x${src}, {hex}`,
  }),
);

/** Every instruction, once. */
export const INSN_ROWS: readonly InsnRow[] = [
  ...aluRows(64),
  ...aluRows(32),
  ...swapRows(),
  ...ADDRESS_ROWS,
  ...FLOW_ROWS,
  ...jumpRows(64),
  ...jumpRows(32),
  ...IMM64_ROWS,
  ...memoryRows(),
  ...atomicRows(),
];
