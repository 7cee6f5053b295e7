/** netkit: a pair of interfaces whose sending end runs a program, made over rtnetlink as no ip(8) of the guest knows them. */
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readdirSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { Bpf } from '../../../src/host/bpf.ts';
import type { Host } from '../../../src/host/host.ts';
import { loadNative } from '../../../src/host/native.ts';
import { attribute, NLM_F, request } from '../../../src/host/netlink.ts';
import { BPF_ATTACH_TYPE, BPF_LINK_TYPE } from '../../../src/uapi/index.ts';
import { concatBytes, utf8 } from '../../../src/util/bytes.ts';
import { kernel, load, ProgramBuilder, R0, R1, R7, Record, slot } from './support.ts';

const RTM_NEWLINK = 16;
const IFINFOMSG = 16;
const IFLA_IFNAME = 3;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const NESTED = 0x8000;

async function createPair(name: string): Promise<void> {
  const native = await loadNative();
  request({ native, bpf: new Bpf(native) } as Host, `netkit ${name}`, {
    type: RTM_NEWLINK,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
    payload: concatBytes([
      new Uint8Array(IFINFOMSG),
      attribute(IFLA_IFNAME, utf8(`${name}\0`)),
      attribute(IFLA_LINKINFO | NESTED, attribute(IFLA_INFO_KIND, utf8('netkit\0'))),
    ]),
  });
}

const ip = (...args: string[]): void => void execFileSync('ip', args);

describe('netkit', () => {
  afterEach(() => kernel.shutdown());

  it('the primary end runs its program for what is sent, until the link is closed', async (context) => {
    try {
      await createPair('nkt');
    } catch (error) {
      context.skip(`this kernel has no netkit: ${(error as Error).message}`);
    }
    const peer = readdirSync('/sys/class/net').find((name) => /^nk\d+$/.test(name))!;
    try {
      for (const end of ['nkt', peer]) ip('link', 'set', end, 'up');
      ip('address', 'add', '10.98.0.1/24', 'dev', 'nkt');
      const record = new Record(0);
      const NEXT = -1;
      const progFd = load(
        'sched_cls',
        new ProgramBuilder()
          .ldMapValue(R7, record.map)
          .mov64(R1, 1)
          .atomic('add', 'dw', R7, R1, slot(1))
          .mov64(R0, NEXT)
          .exit(),
        { expectedAttachType: BPF_ATTACH_TYPE.BPF_NETKIT_PRIMARY },
      );
      const link = kernel.linkCreate({
        progFd,
        targetIfindex: kernel.ifNameToIndex('nkt')!,
        attachType: BPF_ATTACH_TYPE.BPF_NETKIT_PRIMARY,
      });
      expect(kernel.objGetInfoByFd({ bpfFd: link })).toMatchObject({
        type: BPF_LINK_TYPE.BPF_LINK_TYPE_NETKIT,
        details: { ifindex: kernel.ifNameToIndex('nkt') },
      });
      const send = async (): Promise<void> => {
        const socket = createSocket('udp4');
        for (let count = 0; count < 5; count++)
          await new Promise((done) => socket.send('x', 4000, '10.98.0.2', done));
        socket.close();
      };
      const before = record.hits;
      await send();
      expect(record.hits - before).toBeGreaterThanOrEqual(5);
      kernel.close(link);
      const { hits } = record;
      await send();
      expect(record.hits).toBe(hits);
    } finally {
      ip('link', 'delete', 'nkt');
    }
  });
});
