/** Programs follow an inner map at run time; the map that lent its shape at creation is nothing special. */
import { describe, expect, it } from 'vitest';
import { EmbeddedKernel } from '../../src/kernel/index.ts';
import { mapTypeByName } from '../../src/spec/index.ts';
import { fromHex } from '../../src/util/index.ts';
import { insn } from '../host/probe.ts';
import { u32 } from './env.ts';

const SOCKET_FILTER = 1;
const LOOKUP = insn(0x85, 0, 0, 0, 1);
const EXIT_IF_NULL = insn(0x55, 0, 0, 1, 0) + insn(0x95);
const KEY_0 = insn(0x62, 10, 0, -4, 0) + insn(0xbf, 2, 10) + insn(0x07, 2, 0, 0, -4);
const mapAddress = (register: number, fd: number) => insn(0x18, register, 1, 0, fd) + insn(0);

describe.each([
  ['interpreter', 0],
  ['jit', 1],
] as const)('%s', (_engine, jit) => {
  it.each([
    ['array_of_maps', 'array'],
    ['hash_of_maps', 'hash'],
    ['array_of_maps', 'lru_hash'],
  ])('%s of %s', (outerType, innerType) => {
    const kernel = new EmbeddedKernel();
    kernel.simulator.setSysctl('net.core.bpf_jit_enable', jit);
    const make = (type: string, innerMapFd?: number) =>
      kernel.mapCreate({
        mapType: mapTypeByName(type)!.id,
        keySize: 4,
        valueSize: 4,
        maxEntries: 2,
        ...(innerMapFd === undefined ? {} : { innerMapFd: innerMapFd as never }),
      });
    const template = make(innerType);
    const other = make(innerType);
    const outer = make(outerType, template);
    kernel.mapUpdateElem({ mapFd: template, key: u32(0), value: u32(11) });
    kernel.mapUpdateElem({ mapFd: other, key: u32(0), value: u32(22) });
    kernel.mapUpdateElem({ mapFd: outer, key: u32(0), value: u32(other) });
    const code =
      // The template is a map of the program in its own right, too.
      KEY_0 +
      mapAddress(1, template) +
      LOOKUP +
      KEY_0 +
      mapAddress(1, outer) +
      LOOKUP +
      EXIT_IF_NULL +
      insn(0xbf, 1, 0) +
      KEY_0 +
      LOOKUP +
      EXIT_IF_NULL +
      insn(0x61, 0, 0) +
      insn(0x95);
    const progFd = kernel.progLoad({ progType: SOCKET_FILTER, insns: fromHex(code)!, license: 'GPL' });
    const run = () => kernel.progTestRun({ progFd, dataIn: new Uint8Array(64) }).retval;
    expect(run()).toBe(22);
    kernel.mapUpdateElem({ mapFd: outer, key: u32(0), value: u32(template) });
    expect(run()).toBe(11);
    kernel.mapDeleteElem({ mapFd: outer, key: u32(0) });
    expect(run()).toBe(0);
    kernel.shutdown();
  });
});
