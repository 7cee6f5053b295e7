/**
 * `bpf/usdt.bpf.h`: arguments of user-space probes. The maps and the record of a probe's arguments are what libbpf's loader fills in,
 * so names, layout and sizes are its own.
 */
import { guarded, macro } from './text.ts';

const MOST_ARGUMENTS = 12;

const RECORDS = `#ifndef BPF_USDT_MAX_SPEC_CNT
#define BPF_USDT_MAX_SPEC_CNT 256
#endif
#ifndef BPF_USDT_MAX_IP_CNT
#define BPF_USDT_MAX_IP_CNT (4 * BPF_USDT_MAX_SPEC_CNT)
#endif
#define BPF_USDT_MAX_ARG_CNT ${MOST_ARGUMENTS}
enum __bpf_usdt_arg_type { BPF_USDT_ARG_CONST, BPF_USDT_ARG_REG, BPF_USDT_ARG_REG_DEREF, BPF_USDT_ARG_SIB };
struct __bpf_usdt_arg_spec {
	__u64 val_off;
	enum __bpf_usdt_arg_type arg_type: 8;
	__u32 idx_reg_off: 12;
	__u32 scale_bitshift: 4;
	__u32 __reserved: 8;
	short reg_off;
	_Bool arg_signed;
	char arg_bitshift;
};
struct __bpf_usdt_spec {
	struct __bpf_usdt_arg_spec args[BPF_USDT_MAX_ARG_CNT];
	__u64 usdt_cookie;
	short arg_cnt;
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BPF_USDT_MAX_SPEC_CNT);
	__type(key, int);
	__type(value, struct __bpf_usdt_spec);
} __bpf_usdt_specs SEC(".maps") __weak;
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BPF_USDT_MAX_IP_CNT);
	__type(key, long);
	__type(value, __u32);
} __bpf_usdt_ip_to_spec_id SEC(".maps") __weak;
extern const _Bool LINUX_HAS_BPF_COOKIE __kconfig;
`;

const FUNCTIONS = `
/* The place of the probe in the table: its cookie, or before Linux 5.15 what its address says. */
static __always_inline struct __bpf_usdt_spec *__tsbpf_usdt_spec(struct pt_regs *ctx)
{
	int id;

	if (LINUX_HAS_BPF_COOKIE) {
		id = bpf_get_attach_cookie(ctx);
	} else {
		long ip = PT_REGS_IP(ctx);
		int *known = bpf_map_lookup_elem(&__bpf_usdt_ip_to_spec_id, &ip);

		if (!known)
			return NULL;
		id = *known;
	}
	return bpf_map_lookup_elem(&__bpf_usdt_specs, &id);
}

__weak __hidden int bpf_usdt_arg_cnt(struct pt_regs *ctx)
{
	struct __bpf_usdt_spec *spec = __tsbpf_usdt_spec(ctx);

	return spec ? spec->arg_cnt : -ESRCH;
}

static __always_inline int bpf_usdt_arg_size(struct pt_regs *ctx, __u64 arg_num)
{
	struct __bpf_usdt_spec *spec = __tsbpf_usdt_spec(ctx);

	if (!spec)
		return -ESRCH;
	if (arg_num >= BPF_USDT_MAX_ARG_CNT)
		return -ENOENT;
	barrier_var(arg_num);
	if (arg_num >= spec->arg_cnt)
		return -ENOENT;
	return (unsigned int)(64 - spec->args[arg_num].arg_bitshift) / 8;
}

__weak __hidden int bpf_usdt_arg(struct pt_regs *ctx, __u64 arg_num, long *res)
{
	struct __bpf_usdt_spec *spec;
	struct __bpf_usdt_arg_spec *arg;
	unsigned long val = 0, idx = 0;
	int err = 0;

	*res = 0;
	spec = __tsbpf_usdt_spec(ctx);
	if (!spec)
		return -ESRCH;
	if (arg_num >= BPF_USDT_MAX_ARG_CNT)
		return -ENOENT;
	barrier_var(arg_num);
	if (arg_num >= spec->arg_cnt)
		return -ENOENT;
	arg = &spec->args[arg_num];
	if (arg->arg_type > BPF_USDT_ARG_SIB)
		return -EINVAL;
	if (arg->arg_type == BPF_USDT_ARG_CONST) {
		val = arg->val_off;
	} else {
		err = bpf_probe_read_kernel(&val, sizeof(val), (void *)ctx + arg->reg_off);
		if (err)
			return err;
	}
	if (arg->arg_type == BPF_USDT_ARG_SIB) {
		err = bpf_probe_read_kernel(&idx, sizeof(idx), (void *)ctx + arg->idx_reg_off);
		if (err)
			return err;
		val += idx << arg->scale_bitshift;
	}
	if (arg->arg_type == BPF_USDT_ARG_REG_DEREF || arg->arg_type == BPF_USDT_ARG_SIB) {
		err = bpf_probe_read_user(&val, sizeof(val), (void *)(val + arg->val_off));
		if (err)
			return err;
	}
	/* The value's own width, signed as the probe says. */
	val <<= arg->arg_bitshift;
	*res = arg->arg_signed ? ((long)val) >> arg->arg_bitshift : val >> arg->arg_bitshift;
	return 0;
}

__weak __hidden long bpf_usdt_cookie(struct pt_regs *ctx)
{
	struct __bpf_usdt_spec *spec = __tsbpf_usdt_spec(ctx);

	return spec ? spec->usdt_cookie : 0;
}
`;

function wrapper(): string {
  let text = macro('___bpf_usdt_args0()', 'ctx');
  for (let n = 1; n <= MOST_ARGUMENTS; n++) {
    const names = Array.from({ length: n }, (_, i) => `x${i}`);
    const values = names.map((_, i) => `({ long _x; bpf_usdt_arg(ctx, ${i}, &_x); _x; })`);
    text += macro(`___bpf_usdt_args${n}(${names.join(', ')})`, ['ctx', ...values].join(', '));
  }
  return (
    text +
    macro('___bpf_usdt_args(args...)', '___bpf_apply(___bpf_usdt_args, ___bpf_narg(args))(args)') +
    macro(
      'BPF_USDT(name, args...)',
      `name(struct pt_regs *ctx);
      static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args);
      typeof(name(0)) name(struct pt_regs *ctx)
      {
        _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \\"-Wint-conversion\\"")
        return ____##name(___bpf_usdt_args(args));
        _Pragma("GCC diagnostic pop")
      }
      static __always_inline typeof(name(0)) ____##name(struct pt_regs *ctx, ##args)`,
    )
  );
}

export function usdt(): string {
  return guarded(
    '__USDT_BPF_H__',
    `#include <linux/errno.h>\n#include "bpf_helpers.h"\n#include "bpf_tracing.h"\n${RECORDS}${FUNCTIONS}${wrapper()}`,
  );
}
