/**
 * Programs that replace functions of other programs (freplace), and tracing programs around these: what they do, and what is refused, on
 * any kernel that has them. Written in C, as the front end loads them.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtinHeader, compile } from '../../src/compiler/index.ts';
import type { Fd, Kernel } from '../../src/contracts/kernel.ts';
import { BpfObject, type BpfProgram } from '../../src/libbpf/index.ts';
import { BpfError, type VerifierError } from '../../src/util/index.ts';

const HEADER = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define noinline __attribute__((noinline))
char LICENSE[] SEC("license") = "GPL";
`;

/** The program that others attach to. */
const TARGET = `${HEADER}
long seen = 0;
static noinline int inner(int a, int b) { return seen + a * b; }
noinline int value(int x) { seen++; return x + 1; }
noinline int add(struct __sk_buff *skb, int a, long b) { return skb->len + a + b; }
noinline int shift(struct __sk_buff *skb) { return bpf_skb_change_head(skb, 4, 0); }
noinline int unused(int x) { return x + 2; }
SEC("tc") int target(struct __sk_buff *skb)
{
  int result = value(skb->len) + add(skb, 3, 4);
  if (skb->mark == 77)
    return inner(result, skb->mark) + shift(skb);
  return result;
}
SEC("tc") int other(struct __sk_buff *skb) { return value(7); }
SEC("xdp") int onxdp(struct xdp_md *ctx) { return value(2) == 3 ? XDP_PASS : XDP_DROP; }
`;

const MAPS_OF = (name: string): string => `
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, int); __type(value, long[8]); } ${name} SEC(".maps");
static __always_inline long *slots(void) { int zero = 0; return bpf_map_lookup_elem(&${name}, &zero); }
`;

function build(text: string): Uint8Array {
  const options = { builtinHeader, noWarnings: true };
  const { object, diagnostics } = compile({
    files: { read: () => undefined },
    main: 'test.bpf.c',
    text,
    options,
  });
  if (object === null) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  return object;
}

const built = new Map<string, Uint8Array>();

function objectOf(text: string): BpfObject {
  const known = built.get(text) ?? build(text);
  built.set(text, known);
  return BpfObject.open(known);
}

/** `extend`: C of one program; what it attaches to stands behind the section's `/`. */
interface Refusal {
  readonly what: string;
  readonly extend: string;
  readonly target?: string;
  readonly message: string;
  /** The first release that says so. */
  readonly since?: string;
}

const FREPLACE = (name: string, rest: string): string => `SEC("freplace/${name}") ${rest}`;

const REFUSALS: readonly Refusal[] = [
  {
    what: 'a static function',
    extend: FREPLACE('inner', 'int e(int a, int b) { return 0; }'),
    message: 'inner() is not a global function',
  },
  {
    what: 'another number of arguments',
    extend: FREPLACE('value', 'int e(int a, int b) { return 0; }'),
    message: 'e() has 2 args while value() has 1 args',
  },
  {
    what: 'an argument of another kind',
    extend: FREPLACE('value', 'int e(struct __sk_buff *a) { return 0; }'),
    message: 'arg0 in e() is PTR while value() has INT',
  },
  {
    what: 'an argument of another size',
    extend: FREPLACE('value', 'int e(long a) { return 0; }'),
    message: 'arg0 in e() has size 8 while value() has 4',
  },
  {
    what: 'another context',
    extend: FREPLACE('add', 'int e(struct xdp_md *a, int b, long c) { return 0; }'),
    message: "arg0 e(struct xdp_md *) doesn't match add(struct __sk_buff *)",
  },
  {
    what: 'another result',
    extend: FREPLACE('value', 'void *e(int a) { return 0; }'),
    message: "Return type PTR of e() doesn't match type INT of value()",
  },
  {
    what: 'a pointer to no struct',
    extend: FREPLACE('add', 'int e(int *a, int b, long c) { return 0; }'),
    message: 'arg0 in e() is not a pointer to context',
  },
  {
    what: 'a function that no path reaches',
    extend: FREPLACE('unused', 'int e(int a) { return 0; }'),
    message: "Subprog unused doesn't exist",
  },
  {
    what: 'a replacement that changes packets',
    extend: FREPLACE(
      'add',
      'int e(struct __sk_buff *a, int b, long c) { return bpf_skb_change_head(a, 4, 0); }',
    ),
    message: 'Extension program changes packet data, while original does not',
    since: '6.12',
  },
  {
    what: 'a helper that the type of the target does not have',
    extend: FREPLACE('value', 'int e(int a) { return bpf_override_return((void *)0, a); }'),
    message: 'program of this type cannot use helper bpf_override_return#58',
    since: '6.12',
  },
  {
    what: 'a field that the context of the target does not have',
    target: 'onxdp',
    extend: FREPLACE('onxdp', 'int e(struct xdp_md *a) { return *(int *)((void *)a + 24); }'),
    message: 'invalid bpf_context access off=24 size=4',
  },
  {
    what: 'changing the result',
    extend: 'SEC("fmod_ret/value") int e(void *ctx) { return 0; }',
    message: "can't modify return codes of BPF programs",
  },
  {
    what: 'an argument that the function does not have',
    extend: 'SEC("fentry/value") int e(long *ctx) { return ctx[1]; }',
    message: 'invalid bpf_context access off=8 size=8',
  },
];

export interface FunctionSubject {
  readonly kernel: Kernel;
  /** `6.18` */
  readonly release: readonly [number, number];
}

const older = (release: readonly [number, number], since = '5.6'): boolean => {
  const [major, minor] = since.split('.').map(Number) as [number, number];
  return release[0] < major || (release[0] === major && release[1] < minor);
};

export function functionContract(open: () => FunctionSubject): void {
  let kernel: Kernel;
  let release: readonly [number, number];
  let objects: BpfObject[] = [];
  beforeEach(() => {
    ({ kernel, release } = open());
  });
  afterEach(() => {
    for (const object of objects) object.close();
    objects = [];
    kernel.shutdown();
  });

  function load(text: string, target?: BpfProgram): BpfObject {
    const object = objectOf(text);
    objects.push(object);
    if (target !== undefined) {
      for (const program of object.programs)
        program.attachTarget = { name: program.spec.attachTo ?? '', program: target };
    }
    return object.load(kernel);
  }

  const targetOf = (name = 'target'): BpfProgram => {
    const object = objectOf(TARGET);
    objects.push(object);
    for (const program of object.programs) program.autoload = program.name === name;
    return object.load(kernel).findProgram(name);
  };
  const run = (program: BpfProgram): number => program.testRun({ dataIn: new Uint8Array(64) }).retval;
  const words = (object: BpfObject): bigint[] => {
    const bytes = object.findMap('out').getBytes(new Uint8Array(4))!;
    return [...new BigInt64Array(bytes.slice().buffer)];
  };
  const PLAIN = 64 + 1 + 64 + 7;

  describe('replacing', () => {
    it('takes the place of a function while it is attached', () => {
      const target = targetOf();
      expect(run(target)).toBe(PLAIN);
      const object = load(`${HEADER}${FREPLACE('value', 'int e(int x) { return x * 1000; }')}`, target);
      expect(run(target)).toBe(PLAIN);
      const link = object.findProgram('e').attach();
      expect(run(target)).toBe(64000 + 64 + 7);
      link.destroy();
      expect(run(target)).toBe(PLAIN);
    });

    it('hands over the context and the other arguments', () => {
      const target = targetOf();
      const text = `${HEADER}${FREPLACE('add', 'int e(struct __sk_buff *skb, int a, long b) { return skb->len * 10000 + a * 100 + b; }')}`;
      load(text, target).findProgram('e').attach();
      expect(run(target)).toBe(65 + 640304);
    });

    it('replaces a main function', () => {
      const target = targetOf('onxdp');
      const text = `${HEADER}${FREPLACE('onxdp', 'int e(struct xdp_md *ctx) { return ctx->data_end - ctx->data == 64 ? XDP_TX : 0; }')}`;
      const object = load(text, target);
      expect(run(target)).toBe(2);
      const link = object.findProgram('e').attach();
      expect(run(target)).toBe(3);
      link.destroy();
      expect(run(target)).toBe(2);
    });

    it('has maps and functions of its own', () => {
      const target = targetOf();
      const text = `${HEADER}${MAPS_OF('out')}
static noinline int twice(int x) { return 2 * x; }
noinline int plus(int x) { return x + 5; }
${FREPLACE('value', 'int e(int x) { long *s = slots(); if (!s) return 0; s[0]++; s[1] = x; return twice(x) + plus(x); }')}`;
      const object = load(text, target);
      object.findProgram('e').attach();
      expect(run(target)).toBe(128 + 69 + 71);
      expect(run(target)).toBe(128 + 69 + 71);
      expect(words(object).slice(0, 2)).toEqual([2n, 64n]);
    });

    it('is attached to a function of another program of the type, as often as it is named', () => {
      const target = targetOf();
      const second = targetOf('other');
      const program = load(
        `${HEADER}${FREPLACE('value', 'int e(int x) { return x * 2; }')}`,
        target,
      ).findProgram('e');
      const first = program.attach();
      expect(run(second)).toBe(8);
      program.attach({ replaced: second });
      expect(run(second)).toBe(14);
      expect(run(target)).toBe(128 + 71);
      first.destroy();
      expect(run(target)).toBe(PLAIN);
      expect(run(second)).toBe(14);
      expect(() => program.attach()).toThrow(expect.objectContaining({ code: 'EINVAL' }));
      expect(() => program.attach({ replaced: targetOf('onxdp') })).toThrow(
        expect.objectContaining({ code: 'EINVAL' }),
      );
    });

    it('is alone at its function', () => {
      const target = targetOf();
      const text = `${HEADER}${FREPLACE('value', 'int e(int x) { return 1; }')}`;
      const busy = expect.objectContaining({ code: 'EBUSY' });
      const link = load(text, target).findProgram('e').attach();
      expect(() => load(text, target).findProgram('e').attach()).toThrow(busy);
      const tracing = load(`${HEADER}SEC("fentry/value") int e(void *ctx) { return 0; }`, target).findProgram(
        'e',
      );
      expect(() => tracing.attach()).toThrow(busy);
      link.destroy();
      tracing.attach();
      expect(() => load(text, target).findProgram('e').attach()).toThrow(busy);
    });

    it('keeps its target alive', () => {
      const target = targetOf();
      const { id } = target.info();
      const alive = (): boolean => {
        for (let at = 0; ; ) {
          const next = kernel.objGetNextId({ kind: 'prog', startId: at });
          if (next === null) return false;
          if (next === id) return true;
          at = next;
        }
      };
      const object = load(`${HEADER}${FREPLACE('value', 'int e(int x) { return 1; }')}`, target);
      const link = object.findProgram('e').attach();
      target.close();
      expect(alive()).toBe(true);
      const info = kernel.objGetInfoByFd({ bpfFd: link.fd });
      expect(info).toMatchObject({ kind: 'link', type: 2, details: { targetObjId: id } });
    });
  });

  describe('tracing', () => {
    it('sees arguments and results', () => {
      const target = targetOf();
      const text = `${HEADER}${MAPS_OF('out')}
SEC("fentry/value") int before(long *ctx) { long *s = slots(); if (s) { s[0]++; s[1] = ctx[0]; } return 0; }
SEC("fexit/value") int after(long *ctx) { long *s = slots(); if (s) { s[2]++; s[3] = ctx[0]; s[4] = ctx[1]; } return 0; }
SEC("fexit/target") int around(long *ctx) { long *s = slots(); if (s) { s[5]++; s[6] = (int)ctx[1]; } return 0; }`;
      const object = load(text, target);
      const links = ['before', 'after', 'around'].map((name) => object.findProgram(name).attach());
      expect(run(target)).toBe(PLAIN);
      expect(words(object)).toEqual([1n, 64n, 1n, 64n, 65n, 1n, BigInt(PLAIN), 0n]);
      links[0]!.destroy();
      expect(run(target)).toBe(PLAIN);
      expect(words(object).slice(0, 3)).toEqual([1n, 64n, 2n]);
      for (const link of links.slice(1)) link.destroy();
      expect(run(target)).toBe(PLAIN);
      expect(words(object).slice(2, 6)).toEqual([2n, 64n, 65n, 2n]);
    });

    it('sees what replaces a function', () => {
      const target = targetOf();
      const object = load(`${HEADER}${FREPLACE('value', 'int e(int x) { return x * 3; }')}`, target);
      const replacement = object.findProgram('e');
      const text = `${HEADER}${MAPS_OF('out')}
SEC("fexit/e") int after(long *ctx) { long *s = slots(); if (s) { s[0]++; s[1] = ctx[0]; s[2] = (int)ctx[1]; } return 0; }`;
      const tracing = load(text, replacement);
      replacement.attach();
      const link = tracing.findProgram('after').attach();
      expect(run(target)).toBe(192 + 71);
      expect(words(tracing).slice(0, 3)).toEqual([1n, 64n, 192n]);
      link.destroy();
      expect(run(target)).toBe(192 + 71);
      expect(words(tracing)[0]).toBe(1n);
    });

    it('asks for arguments and the result by number', (context) => {
      if (older(release, '5.17')) context.skip(`Linux ${release.join('.')} has no such helpers`);
      const target = targetOf();
      const text = `${HEADER}${MAPS_OF('out')}
SEC("fexit/add") int after(long *ctx)
{
  long *s = slots();
  if (!s) return 0;
  s[0] = bpf_get_func_arg_cnt(ctx);
  bpf_get_func_arg(ctx, 2, &s[1]);
  s[2] = bpf_get_func_arg(ctx, 3, &s[3]);
  bpf_get_func_ret(ctx, &s[4]);
  return 0;
}
SEC("fentry/inner") int loose(long *ctx) { long *s = slots(); if (s) { s[5] = bpf_get_func_arg_cnt(ctx); s[6] = (int)ctx[1]; } return 0; }`;
      const object = load(text, target);
      object.findProgram('after').attach();
      object.findProgram('loose').attach();
      expect(run(target)).toBe(PLAIN);
      expect(words(object).slice(0, 6)).toEqual([3n, 4n, -22n, 0n, 71n, 0n]);
    });

    it('is attached once', () => {
      const target = targetOf();
      const program = load(`${HEADER}SEC("fentry/value") int e(void *ctx) { return 0; }`, target).findProgram(
        'e',
      );
      const link = program.attach();
      expect(() => program.attach()).toThrow(BpfError);
      link.destroy();
    });
  });

  describe('refuses', () => {
    const refusal = (action: () => unknown): [string, string] => {
      try {
        action();
      } catch (error) {
        const { code, log = '' } = error as VerifierError;
        const lines = log.split('\n').filter((line) => line !== '' && !line.startsWith('processed '));
        return [code, lines.at(-1) ?? ''];
      }
      return ['accepted', ''];
    };

    it.for(REFUSALS)('$what', ({ extend, target, message, since }, context) => {
      if (older(release, since)) context.skip(`the log of ${release.join('.')} says it in other words`);
      const found = refusal(() => load(`${HEADER}${extend}`, targetOf(target)));
      expect(found[1]).toBe(message);
      expect(found[0]).toBe(message.startsWith('invalid bpf_context') ? 'EACCES' : 'EINVAL');
    });

    it('chains of programs', () => {
      const target = targetOf();
      const value = 'int e(int x) { return 1; }';
      const replacement = load(`${HEADER}${FREPLACE('value', value)}`, target).findProgram('e');
      expect(refusal(() => load(`${HEADER}${FREPLACE('e', value)}`, replacement))).toEqual([
        'EINVAL',
        'Cannot recursively attach',
      ]);
    });

    it('tracing programs of tracing programs of tracing programs', () => {
      const target = targetOf();
      const trace = (section: string, name: string): string =>
        `${HEADER}SEC("${section}") int ${name}(void *ctx) { return 0; }`;
      const first = load(trace('fentry/value', 'one'), target).findProgram('one');
      if (older(release, '6.9')) {
        expect(refusal(() => load(trace('fentry/one', 'two'), first))).toEqual([
          'EINVAL',
          'Cannot recursively attach',
        ]);
        return;
      }
      const second = load(trace('fentry/one', 'two'), first).findProgram('two');
      expect(refusal(() => load(trace('fentry/two', 'three'), second))).toEqual([
        'EINVAL',
        'Cannot nest tracing program attach more than once',
      ]);
    });

    it('replacements of what measures', (context) => {
      // Before, no main function of a tracing program could say what its context is.
      if (older(release, '6.8')) context.skip(`Linux ${release.join('.')} knows no tags of arguments`);
      const target = targetOf();
      const entry = 'SEC("fentry/value") int f(void *ctx __arg_ctx) { return 0; }';
      const tracing = load(`${HEADER}${entry}`, target).findProgram('f');
      expect(
        refusal(() => load(`${HEADER}${FREPLACE('f', 'int e(void *ctx __arg_ctx) { return 0; }')}`, tracing)),
      ).toEqual(['EINVAL', 'Cannot extend fentry/fexit']);
    });

    it('descriptors that are no programs', () => {
      const map = kernel.mapCreate({ mapType: 2, keySize: 4, valueSize: 4, maxEntries: 1 });
      const object = objectOf(`${HEADER}${FREPLACE('value', 'int e(int x) { return 1; }')}`);
      objects.push(object);
      object.findProgram('e').attachTarget = { name: 'value', program: { fd: map as Fd } };
      expect(refusal(() => object.load(kernel))[0]).not.toBe('accepted');
    });
  });
}
