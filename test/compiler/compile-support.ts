/** Short programs through the compiler, as instructions and into the embedded kernel. */
import { disassembleInsns } from '../../src/asm/index.ts';
import { type CompileOptions, compile } from '../../src/compiler/index.ts';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { BpfObject } from '../../src/libbpf/index.ts';

export const PRELUDE = `#define SEC(x) __attribute__((section(x), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
typedef signed char s8; typedef short s16; typedef int s32; typedef long long s64;
struct xdp_md { u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex; };
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
char LICENSE[] SEC("license") = "GPL";
`;

export interface Compiled {
  readonly object: Uint8Array;
  readonly spec: BpfObject['spec'];
}

/** Errors as `line: message`. */
export function errorsOf(text: string, options: CompileOptions = {}): string[] {
  const result = compile({
    files: { read: () => undefined },
    main: 'test.c',
    text: PRELUDE + text,
    options: { noWarnings: true, checkIr: true, ...options },
  });
  const before = PRELUDE.split('\n').length - 1;
  return result.diagnostics.map(
    (one) => `${(result.sources.position(one.location)?.line ?? before) - before}: ${one.message}`,
  );
}

export function build(text: string, options: CompileOptions = {}): Compiled {
  const result = compile({
    files: { read: () => undefined },
    main: 'test.c',
    text: PRELUDE + text,
    options: { noWarnings: true, checkIr: true, ...options },
  });
  if (result.object === null) throw new Error(errorsOf(text, options).join('\n'));
  return { object: result.object, spec: BpfObject.open(result.object, { name: 'test' }).spec };
}

/** Instructions of the only program, one text a line. */
export function listing(text: string, options: CompileOptions = {}): string[] {
  const [program] = build(text, options).spec.programs;
  return disassembleInsns(program!.insns).map((line) => line.text);
}

/** Loads the object and runs its first program on a packet: what it returns. */
export function run(
  text: string,
  packet: Uint8Array = new Uint8Array(64),
  options: CompileOptions = {},
): number {
  const kernel = new EmbeddedKernel();
  try {
    const object = BpfObject.open(build(text, options).object, { name: 'test' });
    object.load(kernel);
    return object.programs[0]!.testRun({ dataIn: packet }).retval;
  } finally {
    kernel.shutdown();
  }
}
