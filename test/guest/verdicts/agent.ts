/**
 * The part of a verdict run that is inside the guest: makes the maps, then loads every case once for each set of
 * capabilities and says what the kernel answered. It has the guest for itself, so it may set the sysctl that lets
 * unprivileged programs in. Calls bpf(2) without our host kernel in between: errno and log are Linux's own.
 */
import { openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { release } from 'node:os';
import { gzipSync } from 'node:zlib';
import koffi from 'koffi';
import { decodeProgram } from '../../../src/asm/index.ts';
import { type Btf, BtfBuilder, parseBtf } from '../../../src/btf/index.ts';
import { loadNative, mapAnonymous, type Native, type NativeBlock } from '../../../src/host/native.ts';
import { mapTypeByName, progTypeByName } from '../../../src/spec/index.ts';
import { BPF_CMD } from '../../../src/uapi/index.ts';
import { fromHex } from '../../../src/util/index.ts';
import { functionRecords, type MapKind } from '../../../tools/conformance/verifier-case.ts';
import { CHANNEL } from '../protocol.ts';
import {
  CASES_FILE,
  KINDS_FILE,
  type Verdict,
  type VerdictCase,
  WHO,
  WHO_OPTION,
  type Who,
} from './protocol.ts';

const LOG_SIZE = 4 << 20;
const CAPABILITY_VERSION_3 = 0x20080522;
/** System call numbers of x86-64, which the guest is. */
const CAPGET = 125;
const CAPSET = 126;
const SETRLIMIT = 160;
const RLIMIT_MEMLOCK = 8;
const CAPABILITY = { capNetAdmin: 12, capSysAdmin: 21, capPerfmon: 38, capBpf: 39 } as const;
/** struct __user_cap_data_struct of the first 32 capabilities and the next: effective, permitted, inheritable. */
const EFFECTIVE = [8, 20] as const;
const PERMITTED = [12, 24] as const;

class Agent {
  readonly #native: Native;
  readonly #syscall = koffi.load('libc.so.6').func('long syscall(long, int64_t, int64_t)');
  readonly #attr: NativeBlock;
  readonly #data: NativeBlock;
  readonly #log: NativeBlock;
  readonly #capabilities: NativeBlock;
  readonly #maps = new Map<string, number | string>();
  #used = 0;
  #current: Who = 'root';

  constructor(native: Native) {
    this.#native = native;
    this.#attr = mapAnonymous(native, 4096);
    this.#data = mapAnonymous(native, 16 << 20);
    this.#log = mapAnonymous(native, LOG_SIZE);
    this.#capabilities = mapAnonymous(native, 4096);
  }

  /** Before 5.11 programs and maps count as locked memory. */
  liftMemoryLimit(): void {
    new BigUint64Array(this.#capabilities.buffer, 0, 2).fill((1n << 64n) - 1n);
    if (this.#syscall(SETRLIMIT, RLIMIT_MEMLOCK, this.#capabilities.address) < 0)
      throw new Error('setrlimit failed');
  }

  /** Copies bytes to where the kernel can read them. */
  #put(bytes: Uint8Array): bigint {
    new Uint8Array(this.#data.buffer).set(bytes, this.#used);
    const address = BigInt(this.#data.address + this.#used);
    this.#used += (bytes.length + 7) & ~7;
    return address;
  }

  #call(command: number, size: number, fill: (attr: DataView) => void): number {
    new Uint8Array(this.#attr.buffer).fill(0);
    fill(new DataView(this.#attr.buffer));
    return this.#native.call('bpf', command, this.#attr.address, size);
  }

  /** capset(2): what counts for the next calls of this thread; what is permitted stays, so that it can be had again. */
  become(name: Who): void {
    // Emulated, the call sometimes brings newer kernels down: not without need.
    if (name === this.#current) return;
    this.#current = name;
    const who = WHO[name];
    const view = new DataView(this.#capabilities.buffer);
    view.setUint32(0, CAPABILITY_VERSION_3, true);
    view.setUint32(4, 0, true);
    const header = this.#capabilities.address;
    if (this.#syscall(CAPGET, header, header + 8) < 0) throw new Error('capget failed');
    let bits = who.capSysAdmin ? (1n << 64n) - 1n : 0n;
    for (const [name, bit] of Object.entries(CAPABILITY)) {
      if (who[name as keyof typeof CAPABILITY]) bits |= 1n << BigInt(bit);
    }
    for (const [i, at] of EFFECTIVE.entries()) {
      const permitted = view.getUint32(PERMITTED[i]!, true);
      view.setUint32(at, (Number((bits >> BigInt(32 * i)) & 0xffff_ffffn) & permitted) >>> 0, true);
    }
    const result = this.#syscall(CAPSET, header, header + 8);
    if (result < 0) throw new Error(`capset: ${result}`);
  }

  #btf(bytes: Uint8Array): number {
    const at = this.#put(bytes);
    return this.#call(BPF_CMD.BPF_BTF_LOAD, 28, (attr) => {
      attr.setBigUint64(0, at, true);
      attr.setUint32(16, bytes.length, true);
    });
  }

  #createMap(kind: MapKind): number | string {
    const inner = kind.inner === undefined ? 0 : this.#createMap(kind.inner);
    if (typeof inner === 'string') return inner;
    const described = kind.btf_value === undefined ? null : valueTypes(kind.btf);
    if (kind.btf_value !== undefined && described === null) return 'its BTF cannot be made';
    const btf = described === null ? 0 : this.#btf(described.btf);
    if (btf < 0) return `BTF_LOAD ${btf}`;
    const flags = { NO_PREALLOC: 1, RDONLY_PROG: 128, WRONLY_PROG: 256 }[kind.flags ?? ''] ?? 0;
    const fd = this.#call(BPF_CMD.BPF_MAP_CREATE, 72, (attr) => {
      [mapTypeByName(kind.type)!.id, kind.key, kind.value, kind.max_entries, flags, inner].forEach(
        (word, i) => {
          attr.setUint32(4 * i, word, true);
        },
      );
      if (described === null) return;
      attr.setUint32(48, btf, true);
      attr.setUint32(52, described.key, true);
      attr.setUint32(56, described.value, true);
    });
    return fd < 0 ? `MAP_CREATE ${fd}` : fd;
  }

  map(name: string, kind: MapKind): number | string {
    let made = this.#maps.get(name);
    // A program array belongs to the type of the first program that uses it.
    const owned = mapTypeByName(kind.type)!.holds === 'prog';
    if (made === undefined || owned) {
      this.become('root');
      if (typeof made === 'number') this.#native.call('close', made);
      made = this.#createMap(kind);
      this.#maps.set(name, made);
    }
    return made;
  }

  load(test: VerdictCase, kinds: Readonly<Record<string, MapKind>>, who: Who): Verdict {
    const head = { event: 'verdict', id: test.id, who, errno: 0, message: '', insns: -1 } as const;
    this.#used = 0;
    const bytes = fromHex(test.insns.join(''))!;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (const [name, places] of Object.entries(test.maps)) {
      const fd = this.map(name, kinds[name]!);
      if (typeof fd === 'string') return { ...head, withoutMap: `${name}: ${fd}` };
      for (const place of places) view.setInt32(8 * place + 4, fd, true);
    }
    this.#used = 0;
    const records = functionRecords(decodeProgram(bytes));
    if (records !== null) this.become('root');
    const btf = records === null ? 0 : this.#btf(records.btf.bytes);
    const info =
      records === null
        ? new Uint8Array()
        : new Uint8Array(new Uint32Array(records.funcInfo.flatMap((one) => [one.insn, one.typeId])).buffer);
    const places = {
      insns: this.#put(bytes),
      license: this.#put(Buffer.from('GPL\0')),
      info: this.#put(info),
    };
    const progType = progTypeByName(test.progType)!.id;
    this.become(who);
    const attachBtfId =
      test.attachFunc === undefined
        ? 0
        : (kernelTypes().find(test.attachFunc, test.attachKind ?? 'func') ?? 0);
    const attempt = (level: number): number =>
      this.#call(BPF_CMD.BPF_PROG_LOAD, 120, (attr) => {
        attr.setUint32(0, progType, true);
        attr.setUint32(4, bytes.length / 8, true);
        attr.setBigUint64(8, places.insns, true);
        attr.setBigUint64(16, places.license, true);
        attr.setUint32(24, level, true);
        if (level !== 0) {
          attr.setUint32(28, LOG_SIZE, true);
          attr.setBigUint64(32, BigInt(this.#log.address), true);
        }
        // BPF_F_TEST_STATE_FREQ needs privileges: without it the verdict says nothing of the program.
        attr.setUint32(44, test.loadFlags & (WHO[who].capBpf ? 0xff : 3), true);
        attr.setUint32(68, test.expectedAttachType, true);
        attr.setUint32(108, attachBtfId, true);
        if (records === null) return;
        attr.setUint32(72, btf, true);
        attr.setUint32(76, 8, true);
        attr.setBigUint64(80, places.info, true);
        attr.setUint32(88, records.funcInfo.length, true);
      });
    const log = new Uint8Array(this.#log.buffer);
    log[0] = 0;
    let fd = attempt(1);
    const text = Buffer.from(log.subarray(0, Math.max(0, log.indexOf(0)))).toString('latin1');
    const ENOSPC = -28;
    if (fd === ENOSPC) fd = attempt(0);
    if (fd >= 0) this.#native.call('close', fd);
    if (btf > 0) this.#native.call('close', btf);
    const lines = text.trimEnd().split('\n');
    const stats = /^processed (\d+) insns/.exec(lines.at(-1) ?? '');
    if (stats !== null) lines.pop();
    return {
      ...head,
      errno: fd < 0 ? -fd : 0,
      message: fd < 0 ? (lines.at(-1) ?? '') : '',
      insns: stats === null ? -1 : Number(stats[1]),
    };
  }
}

let vmlinux: Btf | undefined;

/** Parsed once, where a case asks for it: that takes seconds in the guest. */
function kernelTypes(): Btf {
  vmlinux ??= parseBtf(readFileSync('/sys/kernel/btf/vmlinux'));
  return vmlinux;
}

/** BTF of a map's key (u32) and value, for the few structs that the table of kinds has. */
function valueTypes(text: string | undefined): { btf: Uint8Array; key: number; value: number } | null {
  const builder = new BtfBuilder();
  const int = (name: string, size: number): number =>
    builder.add({
      kind: 'int',
      name,
      size,
      signed: true,
      char: false,
      bool: false,
      bitOffset: 0,
      bits: size * 8,
    });
  const key = int('int', 4);
  const struct = (name: string, size: number, members: readonly [string, number, number][]): number =>
    builder.add({
      kind: 'struct',
      name,
      size,
      members: members.map(([field, type, at]) => ({ name: field, type, bitOffset: at * 8, bitSize: 0 })),
    });
  const lock = struct('bpf_spin_lock', 4, [['val', key, 0]]);
  if (text === undefined || text.includes('bpf_spin_lock')) {
    const value = struct('val', 8, [
      ['cnt', key, 0],
      ['l', lock, 4],
    ]);
    return { btf: builder.bytes(), key, value };
  }
  if (!text.includes('bpf_timer')) return null;
  const word = int('long', 8);
  const timer = struct('bpf_timer', 16, [
    ['a', word, 0],
    ['b', word, 8],
  ]);
  const value = struct('timer', 16, [['t', timer, 0]]);
  return { btf: builder.bytes(), key, value };
}

export async function main(): Promise<void> {
  const channel = openSync(CHANNEL, 'w');
  const say = (message: object): void => {
    let rest = Buffer.from(`${JSON.stringify(message)}\n`);
    while (rest.length > 0) rest = rest.subarray(writeSync(channel, rest));
  };
  const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
  say({ event: 'hello', release: release(), node: process.version, uptime });
  writeFileSync('/proc/sys/kernel/unprivileged_bpf_disabled', '0');
  const kinds = JSON.parse(readFileSync(KINDS_FILE, 'utf8')) as Record<string, MapKind>;
  const cases = readFileSync(CASES_FILE, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as VerdictCase);
  const word = readFileSync('/proc/cmdline', 'utf8')
    .trim()
    .split(' ')
    .find((one) => one.startsWith(WHO_OPTION));
  const who = (word?.slice(WHO_OPTION.length).split(':') ?? Object.keys(WHO)) as Who[];
  const agent = new Agent(await loadNative());
  agent.liftMemoryLimit();
  if (cases.some((test) => test.attachFunc !== undefined)) {
    const btf = gzipSync(readFileSync('/sys/kernel/btf/vmlinux'), { level: 1 });
    const half = 1 << 19;
    for (let at = 0; at < btf.length; at += half)
      say({ event: 'types', btf: btf.subarray(at, at + half).toString('base64') });
  }
  for (const one of who) for (const test of cases) say(agent.load(test, kinds, one));
  process.exit(0);
}
