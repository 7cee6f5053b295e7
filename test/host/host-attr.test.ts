/** `union bpf_attr` as it is handed to a kernel, and what an older kernel's refusal becomes; the kernel is played by a function. */
import { describe, expect, it } from 'vitest';
import { countCpus } from '../../src/host/host.ts';
import {
  ATTR_COMMANDS,
  attrRow,
  HostKernel,
  parseTraceLines,
  parseVerifierLog,
} from '../../src/host/index.ts';
import type { Native } from '../../src/host/native.ts';
import { isOlder } from '../../src/host/release.ts';
import { SYSCALL_NUMBERS } from '../../src/host/syscalls.ts';
import { COMMANDS } from '../../src/spec/index.ts';
import { BPF_CMD, SYSCALLS, UAPI_LAYOUTS } from '../../src/uapi/index.ts';
import { BpfError, ERRNO, UnsupportedFeatureError, VerifierError } from '../../src/util/index.ts';

type Bpf = (cmd: number, attr: Uint8Array, read: (address: bigint, size: number) => Uint8Array) => number;

const BASE = 0x10000;

/** A kernel of a release that is one function. */
function played(release: string, bpf: Bpf): HostKernel {
  const memory = new ArrayBuffer(1 << 25);
  let top = 0;
  const native: Native = {
    arch: 'x86_64',
    release,
    pageSize: 4096,
    call(name, ...args) {
      if (name === 'mmap') {
        top += args[1];
        return BASE + top - args[1];
      }
      if (name !== 'bpf') return 0;
      const [cmd, address, size] = args;
      return bpf(
        cmd,
        new Uint8Array(memory, address - BASE, size),
        (at, length) => new Uint8Array(memory, Number(at) - BASE, length),
      );
    },
    view: (address, size) => windowOf(memory, address - BASE, size),
    watch: () => ({ start() {}, stop() {}, close() {} }),
    ifNameToIndex: () => 0,
  };
  return new HostKernel(native);
}

/** The arena makes views by offset, so a window must start at 0: only the first mapping is used. */
function windowOf(memory: ArrayBuffer, offset: number, size: number): ArrayBuffer {
  if (offset !== 0) throw new Error(`only one mapping of ${size} bytes is played`);
  return memory;
}

const le32 = (bytes: Uint8Array, at: number) =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(at, true);

/** What a kernel does whose attributes end at `known`. */
function oldKernel(release: string, known: number): HostKernel {
  return played(release, (_cmd, attr) =>
    attr.subarray(known).some((byte) => byte !== 0) ? -ERRNO.E2BIG : -ERRNO.EPERM,
  );
}

function caught(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('the table of attributes', () => {
  it('has every command', () => {
    expect([...ATTR_COMMANDS].sort()).toEqual(COMMANDS.map((row) => row.name).sort());
    for (const name of ATTR_COMMANDS) expect(BPF_CMD[name as keyof typeof BPF_CMD]).toBeDefined();
  });

  it('has every field of the union', () => {
    const named = new Set(
      ATTR_COMMANDS.flatMap((command) => [...attrRow(command).fields.values()].map((f) => f.layout.name)),
    );
    const all = UAPI_LAYOUTS.bpf_attr.fields.map((field) => field.name);
    const structs = all.filter((name) => all.some((other) => other.startsWith(`${name}.`)));
    const missing = all.filter((name) => !named.has(name) && !structs.includes(name));
    expect(missing).toEqual([]);
  });

  it('has fields of up to 8 bytes, and names', () => {
    for (const command of ATTR_COMMANDS) {
      for (const { key, layout, pointer } of attrRow(command).fields.values()) {
        expect(key).toMatch(/^[a-z][A-Za-z.]*$/);
        if (pointer) expect(layout.size).toBe(8);
        else expect([4, 8, 16]).toContain(layout.size);
      }
    }
  });
});

describe('system call numbers', () => {
  it('of x86-64 are those of the headers', () => {
    for (const [name, number] of Object.entries(SYSCALL_NUMBERS.x86_64))
      expect([name, SYSCALLS[name]]).toEqual([name, number]);
    expect(Object.keys(SYSCALL_NUMBERS.aarch64).sort()).toEqual(Object.keys(SYSCALL_NUMBERS.x86_64).sort());
  });
  it('of aarch64 are those of asm-generic', () => {
    expect(SYSCALL_NUMBERS.aarch64).toMatchObject({ bpf: 280, perf_event_open: 241, mmap: 222, ioctl: 29 });
  });
});

describe('what is handed over', () => {
  it('ends with the last field that is used', () => {
    const sizes: number[] = [];
    const kernel = played('6.18.0', (cmd, attr) => {
      sizes.push(attr.length);
      return cmd === BPF_CMD.BPF_MAP_CREATE ? 77 : 0;
    });
    kernel.mapCreate({ mapType: 1, keySize: 4, valueSize: 8, maxEntries: 1 });
    kernel.mapCreate({ mapType: 1, keySize: 4, valueSize: 8, maxEntries: 1, mapName: 'x', mapExtra: 3n });
    expect(sizes).toEqual([16, 72]);
  });

  it('has each value at its place', () => {
    let seen = new Uint8Array();
    const kernel = played('6.18.0', (_cmd, attr) => {
      seen = attr.slice();
      return -ERRNO.EINVAL;
    });
    caught(() =>
      kernel.linkCreate({
        progFd: 5 as never,
        targetIfindex: 9,
        attachType: 46,
        relativeId: 12,
        expectedRevision: 0x1_0000_0002n,
      }),
    );
    expect([0, 4, 8, 16, 24, 28].map((at) => le32(seen, at))).toEqual([5, 9, 46, 12, 2, 1]);
  });

  it('has arrays and strings behind addresses', () => {
    const symbols: string[] = [];
    const kernel = played('6.18.0', (_cmd, attr, read) => {
      const view = new DataView(attr.buffer, attr.byteOffset, attr.length);
      const array = read(view.getBigUint64(24, true), 16);
      const pointers = new BigUint64Array(array.slice().buffer);
      for (const pointer of pointers) symbols.push(String.fromCharCode(...read(pointer, 3)));
      return -ERRNO.EINVAL;
    });
    caught(() =>
      kernel.linkCreate({ progFd: 5 as never, attachType: 42, kprobeMulti: { symbols: ['abc', 'def'] } }),
    );
    expect(symbols).toEqual(['abc', 'def']);
  });
});

describe('an older kernel', () => {
  it('is asked again without names', () => {
    const asked: number[] = [];
    const kernel = played('4.14.0', (_cmd, attr) => {
      asked.push(attr.length);
      return attr.length > 28 ? -ERRNO.E2BIG : 33;
    });
    expect(kernel.mapCreate({ mapType: 1, keySize: 4, valueSize: 8, maxEntries: 1, mapName: 'name' })).toBe(
      33,
    );
    expect(asked).toEqual([44, 16]);
  });

  it('says which release has what was asked for', () => {
    const kernel = oldKernel('5.4.210-generic', 64);
    const attr = { mapType: 2, keySize: 4, valueSize: 8, maxEntries: 1, mapExtra: 1n };
    const error = caught(() => kernel.mapCreate(attr)) as UnsupportedFeatureError;
    expect(error).toBeInstanceOf(UnsupportedFeatureError);
    expect(error).toMatchObject({ code: 'E2BIG', since: '5.16', release: '5.4.210-generic' });
    expect(error.message).toBe('BPF_MAP_CREATE with map_extra needs Linux 5.16; this is 5.4.210-generic');
  });

  it('knows neither newer commands nor types', () => {
    const kernel = played('5.4.0', () => -ERRNO.EINVAL);
    const since = (action: () => unknown) => (caught(action) as UnsupportedFeatureError).since;
    expect(since(() => kernel.linkDetach({ linkFd: 3 as never }))).toBe('5.9');
    expect(since(() => kernel.mapCreate({ mapType: 27, keySize: 0, valueSize: 0, maxEntries: 4096 }))).toBe(
      '5.8',
    );
    const program = { progType: 30, insns: new Uint8Array(16), license: 'GPL' };
    expect(since(() => kernel.progLoad(program))).toBe('5.9');
  });

  it('refuses what it knows as any kernel does', () => {
    const kernel = played('6.18.0', () => -ERRNO.EINVAL);
    const error = caught(() => kernel.mapCreate({ mapType: 1, keySize: 0, valueSize: 8, maxEntries: 1 }));
    expect(error).toBeInstanceOf(BpfError);
    expect(error).not.toBeInstanceOf(UnsupportedFeatureError);
    expect((error as Error).message).toBe('BPF_MAP_CREATE: a map of hash: invalid argument (EINVAL)');
  });

  it('is told from a newer one by numbers', () => {
    expect(isOlder('5.10.0', '5.9')).toBe(false);
    expect(isOlder('5.9.16', '5.10')).toBe(true);
    expect(isOlder('strange', '5.10')).toBe(false);
  });
});

describe('the log of a refusal', () => {
  it('grows until it fits', () => {
    const sizes: number[] = [];
    const kernel = played('6.18.0', (_cmd, attr, read) => {
      const size = le32(attr, 28);
      sizes.push(size);
      if (size === 0) return -ERRNO.EACCES;
      if (size < 100_000) {
        new DataView(attr.buffer, attr.byteOffset).setUint32(140, 100_000, true);
        return -ERRNO.ENOSPC;
      }
      const at = new DataView(attr.buffer, attr.byteOffset).getBigUint64(32, true);
      read(at, 80).set(
        new TextEncoder().encode('0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000)\n'),
      );
      return -ERRNO.EACCES;
    });
    const error = caught(() => kernel.progLoad({ progType: 1, insns: new Uint8Array(8), license: 'GPL' }));
    expect(error).toBeInstanceOf(VerifierError);
    expect(error).toMatchObject({ code: 'EACCES', message: 'R0 !read_ok', insn: 0, insnsProcessed: 1 });
    expect(sizes).toEqual([0, 65_536, 100_000]);
  });

  it('is taken apart', () => {
    const parsed = parseVerifierLog(`func#0 @0
0: R1=ctx() R10=fp0
; __u32 key = ctx->ingress_ifindex; @ unchecked.bpf.c:29
0: (61) r1 = *(u32 *)(r1 +12)         ; R1=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))
1: (63) *(u32 *)(r10 -4) = r1         ; R1=scalar(id=1) R10=fp0 fp-8=????scalar(id=1)
; __sync_fetch_and_add(count, 1); @ unchecked.bpf.c:32
6: (db) lock *(u64 *)(r0 +0) += r1
R0 invalid mem access 'map_value_or_null'
processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
`);
    expect(parsed).toEqual({
      message: "R0 invalid mem access 'map_value_or_null'",
      insn: 6,
      source: { file: 'unchecked.bpf.c', line: 32, column: 0, text: '__sync_fetch_and_add(count, 1);' },
      registers: [
        { register: 'R0', state: 'never written' },
        { register: 'R1', state: 'scalar(id=1)' },
      ],
      path: [0, 1, 6],
      insnsProcessed: 7,
    });
  });

  it('may be anything', () => {
    // What the verifier tells by the way is no reason.
    expect(parseVerifierLog("func 'f' arg0 has btf_id 114 type STRUCT 'task_struct'\n").message).toBe('');
    expect(parseVerifierLog('')).toMatchObject({ message: '', insn: -1, path: [], insnsProcessed: 0 });
    expect(parseVerifierLog('\0\uffff: ((((\n; \nfrom 1 to')).toMatchObject({ insn: -1 });
    // Programs put text of their own into logs and traces: it must not cost more than its length.
    for (const part of [' @ ', 'R1=(((', '(', ' ', '-1 ', '0: (61) '])
      for (const head of ['', '; ', '0: (61) x ; R1=', 'R1=']) {
        parseVerifierLog(head + part.repeat(50_000));
        parseTraceLines([head + part.repeat(50_000)]);
      }
  });
});

describe('lines of trace_pipe', () => {
  it('are parsed', () => {
    expect(
      parseTraceLines([
        '            node-17178   [001] d..21  1234.567890: bpf_trace_printk: Hello, world! a-1 [0] runs',
        'second line',
        'CPU:0 [LOST 5 EVENTS]',
        '           <...>-9       (      9) [000] .....     0.000001: tracing_mark_write: mark',
      ]),
    ).toEqual([
      {
        comm: 'node',
        pid: 17178,
        cpu: 1,
        flags: 'd..21',
        timestamp: 1234.56789,
        message: 'Hello, world! a-1 [0] runs\nsecond line',
      },
      {
        comm: '<...>',
        pid: 9,
        cpu: 0,
        flags: '.....',
        timestamp: 0.000001,
        message: 'tracing_mark_write: mark',
      },
    ]);
  });
});

it('possible CPUs are counted', () => {
  expect(['0', '0-1\n', '0-3,8-11', '0,2'].map(countCpus)).toEqual([1, 2, 8, 2]);
});
