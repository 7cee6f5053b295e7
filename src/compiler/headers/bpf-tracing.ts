/**
 * `bpf/bpf_tracing.h`: typed arguments of tracing programs, and the registers of each architecture by what they mean. Without a
 * `__TARGET_ARCH_…` the architecture is x86-64, as of the embedded kernel.
 */
import { guarded, letters, macro } from './text.ts';

const MOST_ARGUMENTS = 12;
const MOST_PARAMETERS = 8;
const MOST_SYSCALL_PARAMETERS = 7;

/** Registers of one architecture, as fields of its pt_regs. Empty where the ABI has none. */
interface Architecture {
  readonly name: string;
  /** What `struct pt_regs` really is for programs; default: itself. */
  readonly cast?: string;
  readonly parameters: readonly string[];
  /** Parameters of system calls, where they differ. */
  readonly syscall?: Readonly<Record<number, string>>;
  /** The record that has the first system call parameter, when `cast` has not. */
  readonly syscallRecord?: string;
  readonly ret: string;
  readonly fp: string;
  readonly rc: string;
  readonly sp: string;
  readonly ip: string;
  /** The registers of a system call are the context itself. */
  readonly direct?: true;
}

const numbered = (prefix: string, from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}[${from + i}]`);

const ARCHITECTURES: readonly Architecture[] = [
  {
    name: 's390',
    cast: 'const user_pt_regs *',
    parameters: numbered('gprs', 2, 5),
    syscall: { 1: 'orig_gpr2', 6: 'gprs[7]' },
    syscallRecord: 'const struct pt_regs___s390 *',
    ret: 'gprs[14]',
    fp: 'gprs[11]',
    rc: 'gprs[2]',
    sp: 'gprs[15]',
    ip: 'psw.addr',
  },
  {
    name: 'arm',
    parameters: numbered('uregs', 0, 4),
    syscall: { 5: 'uregs[4]', 6: 'uregs[5]', 7: 'uregs[6]' },
    ret: 'uregs[14]',
    fp: 'uregs[11]',
    rc: 'uregs[0]',
    sp: 'uregs[13]',
    ip: 'uregs[12]',
  },
  {
    name: 'arm64',
    cast: 'const struct user_pt_regs *',
    parameters: numbered('regs', 0, 8),
    syscall: { 1: 'orig_x0' },
    syscallRecord: 'const struct pt_regs___arm64 *',
    ret: 'regs[30]',
    fp: 'regs[29]',
    rc: 'regs[0]',
    sp: 'sp',
    ip: 'pc',
  },
  {
    name: 'mips',
    parameters: numbered('regs', 4, 8),
    ret: 'regs[31]',
    fp: 'regs[30]',
    rc: 'regs[2]',
    sp: 'regs[29]',
    ip: 'cp0_epc',
  },
  {
    name: 'powerpc',
    parameters: numbered('gpr', 3, 8),
    syscall: { 1: 'orig_gpr3' },
    ret: 'regs[31]',
    fp: '',
    rc: 'gpr[3]',
    sp: 'gpr[1]',
    ip: 'nip',
    direct: true,
  },
  {
    name: 'riscv',
    cast: 'const struct user_regs_struct *',
    parameters: letters(8, 'a').map((_, i) => `a${i}`),
    syscall: { 1: 'orig_a0' },
    syscallRecord: 'const struct pt_regs___riscv *',
    ret: 'ra',
    fp: 's0',
    rc: 'a0',
    sp: 'sp',
    ip: 'pc',
    direct: true,
  },
  {
    name: 'loongarch',
    cast: 'const struct user_pt_regs *',
    parameters: numbered('regs', 4, 8),
    ret: 'regs[1]',
    fp: 'regs[22]',
    rc: 'regs[4]',
    sp: 'regs[3]',
    ip: 'csr_era',
    direct: true,
  },
];

const X86: Omit<Architecture, 'ret' | 'fp' | 'rc' | 'sp' | 'ip'> = {
  name: 'x86',
  parameters: ['di', 'si', 'dx', 'cx', 'r8', 'r9'],
  syscall: { 4: 'r10' },
};

/** The two spellings of x86-64: of the kernel's own pt_regs (vmlinux.h), and of the UAPI's. */
function x86(kernel: boolean): Architecture {
  const long = (name: string): string => (kernel || /^r\d/.test(name) ? name : `r${name}`);
  return {
    ...X86,
    parameters: X86.parameters.map(long),
    ret: long('sp'),
    fp: long('bp'),
    rc: long('ax'),
    sp: long('sp'),
    ip: long('ip'),
  };
}

function registers(arch: Architecture): string {
  let text =
    arch.cast === undefined
      ? macro('__PT_REGS_CAST(x)', '(x)')
      : macro('__PT_REGS_CAST(x)', `((${arch.cast})(x))`);
  const missing = '__unsupported__';
  for (let i = 1; i <= MOST_PARAMETERS; i++)
    text += macro(`__PT_PARM${i}_REG`, arch.parameters[i - 1] ?? missing);
  for (let i = 1; i <= MOST_SYSCALL_PARAMETERS; i++)
    text += macro(
      `__PT_PARM${i}_SYSCALL_REG`,
      arch.syscall?.[i] ?? (i < 7 ? arch.parameters[i - 1] : undefined) ?? missing,
    );
  for (const [name, register] of [
    ['RET', arch.ret],
    ['FP', arch.fp],
    ['RC', arch.rc],
    ['SP', arch.sp],
    ['IP', arch.ip],
  ] as const)
    text += macro(`__PT_${name}_REG`, register === '' ? missing : register);
  if (arch.syscallRecord !== undefined) {
    const record = arch.syscallRecord.replace(/^const | \*$/g, '');
    text += `${record} { unsigned long ${arch.syscall![1]}; } __attribute__((preserve_access_index));\n`;
    text += macro('__PT_SYSCALL1_CAST(x)', `((${arch.syscallRecord})(x))`);
  } else text += macro('__PT_SYSCALL1_CAST(x)', '__PT_REGS_CAST(x)');
  text += macro(
    'PT_REGS_SYSCALL_REGS(ctx)',
    arch.direct === true ? 'ctx' : '((struct pt_regs *)PT_REGS_PARM1(ctx))',
  );
  return text;
}

function architectures(): string {
  let text = '';
  for (const arch of ARCHITECTURES)
    text += `${text === '' ? '#if' : '#elif'} defined(__TARGET_ARCH_${arch.name})\n#define bpf_target_${arch.name}\n${registers(arch)}`;
  return `${text}#else
#define bpf_target_x86
#if defined(__KERNEL__) || defined(__VMLINUX_H__)
${registers(x86(true))}#else
${registers(x86(false))}#endif
#endif
#define bpf_target_defined
`;
}

function accessors(): string {
  let text = '';
  const names = [...letters(MOST_PARAMETERS, 'PARM'), 'RET', 'FP', 'RC', 'SP', 'IP'];
  for (const name of names) {
    text += macro(`PT_REGS_${name}(x)`, `(__PT_REGS_CAST(x)->__PT_${name}_REG)`);
    text += macro(`PT_REGS_${name}_CORE(x)`, `BPF_CORE_READ(__PT_REGS_CAST(x), __PT_${name}_REG)`);
  }
  for (let i = 1; i <= MOST_SYSCALL_PARAMETERS; i++) {
    const cast = i === 1 ? '__PT_SYSCALL1_CAST(x)' : '__PT_REGS_CAST(x)';
    text += macro(`PT_REGS_PARM${i}_SYSCALL(x)`, `(${cast}->__PT_PARM${i}_SYSCALL_REG)`);
    text += macro(`PT_REGS_PARM${i}_CORE_SYSCALL(x)`, `BPF_CORE_READ(${cast}, __PT_PARM${i}_SYSCALL_REG)`);
  }
  return `${text}#if defined(bpf_target_powerpc)
${macro('BPF_KPROBE_READ_RET_IP(ip, ctx)', '({ (ip) = (ctx)->link; })')}#define BPF_KRETPROBE_READ_RET_IP BPF_KPROBE_READ_RET_IP
#elif defined(bpf_target_arm64)
${macro('BPF_KPROBE_READ_RET_IP(ip, ctx)', '({ (ip) = PT_REGS_RET(ctx); })')}#define BPF_KRETPROBE_READ_RET_IP BPF_KPROBE_READ_RET_IP
#else
${macro('BPF_KPROBE_READ_RET_IP(ip, ctx)', '({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)PT_REGS_RET(ctx)); })')}${macro('BPF_KRETPROBE_READ_RET_IP(ip, ctx)', '({ bpf_probe_read_kernel(&(ip), sizeof(ip), (void *)(PT_REGS_FP(ctx) + sizeof(ip))); })')}#endif
`;
}

/** `name0()` to `nameN(x1, …)`: the context, then one expression an argument. */
function argumentFamily(name: string, count: number, value: (index: number) => string): string {
  let text = macro(`${name}0()`, 'ctx');
  for (let n = 1; n <= count; n++) {
    const values = Array.from({ length: n }, (_, i) => value(i));
    text += macro(`${name}${n}(${letters(n, 'x').join(', ')})`, ['ctx', ...values].join(', '));
  }
  return `${text}${macro(`${name}(args...)`, `___bpf_apply(${name}, ___bpf_narg(args))(args)`)}`;
}

/**
 * A program with typed arguments: the function that the kernel calls unpacks them for one that is inlined. `body` is what stands
 * between the braces of the first.
 */
function wrapper(name: string, context: string, body: string, before = ''): string {
  return macro(
    `${name}(name, args...)`,
    `name(${context} *ctx);
    ${before}
    static __always_inline typeof(name(0)) ____##name(${context} *ctx, ##args);
    typeof(name(0)) name(${context} *ctx)
    {
      ${body}
    }
    static __always_inline typeof(name(0)) ____##name(${context} *ctx, ##args)`,
  );
}

const quiet = (body: string): string =>
  `_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \\"-Wint-conversion\\"") ${body} _Pragma("GCC diagnostic pop")`;

/** BPF_PROG2: arguments as pairs of type and name, records of up to 16 bytes by value. */
function pairs(): string {
  const sizes = [
    [1, '__u8', 1],
    [2, '__u16', 1],
    [4, '__u32', 1],
    [8, '__u64', 1],
    [16, '__u64', 2],
  ] as const;
  const choose = (value: (size: (typeof sizes)[number]) => string): string =>
    sizes.reduceRight(
      (rest, size) => `__builtin_choose_expr(sizeof(t) == ${size[0]}, ${value(size)}, ${rest})`,
      '(void)0',
    );
  const counts = Array.from(
    { length: MOST_ARGUMENTS },
    (_, i) => `${MOST_ARGUMENTS - i}, ${MOST_ARGUMENTS - i}`,
  );
  let text =
    macro(`___bpf_nth2(_, ${letters(2 * MOST_ARGUMENTS, '_').join(', ')}, N, ...)`, 'N') +
    macro('___bpf_narg2(...)', `___bpf_nth2(_, ##__VA_ARGS__, ${counts.join(', ')}, 0)`) +
    macro(
      '___bpf_treg_cnt(t)',
      choose((size) => String(size[2])),
    ) +
    macro(
      '___bpf_union_arg(t, x, n)',
      choose(([, type, length]) => {
        const words = length === 1 ? 'ctx[n]' : 'ctx[n], ctx[(n) + 1]';
        return `({ union { ${type} z[${length}]; t x; } ___t = { .z = { ${words} } }; ___t.x; })`;
      }),
    ) +
    macro('___bpf_ctx_arg0()', '') +
    macro('___bpf_ctx_decl0()', '');
  for (let n = 1; n <= MOST_ARGUMENTS; n++) {
    const names = letters(n, '').map((index) => `t${index}, x${index}`);
    const values: string[] = [];
    const declarations: string[] = [];
    for (let i = 1; i <= n; i++) {
      const before = Array.from({ length: i - 1 }, (_, j) => ` + ___bpf_treg_cnt(t${j + 1})`).join('');
      values.push(`, ___bpf_union_arg(t${i}, x${i}, 0${before})`);
      declarations.push(`, t${i} x${i}`);
    }
    text += macro(`___bpf_ctx_arg${n}(${names.join(', ')})`, values.join(''));
    text += macro(`___bpf_ctx_decl${n}(${names.join(', ')})`, declarations.join(''));
  }
  for (const name of ['___bpf_ctx_arg', '___bpf_ctx_decl'])
    text += macro(`${name}(args...)`, `___bpf_apply(${name}, ___bpf_narg2(args))(args)`);
  return `${text}${macro(
    'BPF_PROG2(name, args...)',
    `name(unsigned long long *ctx);
    static __always_inline typeof(name(0)) ____##name(unsigned long long *ctx ___bpf_ctx_decl(args));
    typeof(name(0)) name(unsigned long long *ctx) { return ____##name(ctx ___bpf_ctx_arg(args)); }
    static __always_inline typeof(name(0)) ____##name(unsigned long long *ctx ___bpf_ctx_decl(args))`,
  )}`;
}

export function bpfTracing(): string {
  const wide = (name: string) => (index: number) =>
    `(unsigned long long)${name.replace('#', String(index + 1))}`;
  const text =
    '#include "bpf_helpers.h"\n' +
    architectures() +
    accessors() +
    argumentFamily('___bpf_ctx_cast', MOST_ARGUMENTS, (index) => `ctx[${index}]`) +
    wrapper('BPF_PROG', 'unsigned long long', quiet('return ____##name(___bpf_ctx_cast(args));')) +
    pairs() +
    'struct pt_regs;\n' +
    argumentFamily('___bpf_kprobe_args', MOST_PARAMETERS, wide('PT_REGS_PARM#(ctx)')) +
    wrapper('BPF_KPROBE', 'struct pt_regs', quiet('return ____##name(___bpf_kprobe_args(args));')) +
    argumentFamily('___bpf_kretprobe_args', 1, wide('PT_REGS_RC(ctx)')) +
    wrapper('BPF_KRETPROBE', 'struct pt_regs', quiet('return ____##name(___bpf_kretprobe_args(args));')) +
    argumentFamily('___bpf_syscall_args', MOST_SYSCALL_PARAMETERS, wide('PT_REGS_PARM#_SYSCALL(regs)')) +
    argumentFamily('___bpf_syswrap_args', MOST_SYSCALL_PARAMETERS, wide('PT_REGS_PARM#_CORE_SYSCALL(regs)')) +
    wrapper(
      'BPF_KSYSCALL',
      'struct pt_regs',
      `struct pt_regs *regs = LINUX_HAS_SYSCALL_WRAPPER ? (struct pt_regs *)PT_REGS_PARM1(ctx) : ctx;
      ${quiet(`if (LINUX_HAS_SYSCALL_WRAPPER)
        return ____##name(___bpf_syswrap_args(args));
      else
        return ____##name(___bpf_syscall_args(args));`)}`,
      'extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig;',
    ) +
    '#define BPF_KPROBE_SYSCALL BPF_KSYSCALL\n' +
    macro('BPF_UPROBE(name, args...)', 'BPF_KPROBE(name, ##args)') +
    macro('BPF_URETPROBE(name, args...)', 'BPF_KRETPROBE(name, ##args)');
  return guarded('__BPF_TRACING_H__', text);
}
