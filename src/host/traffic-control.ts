/** The older tc over rtnetlink: the clsact qdisc of an interface and `bpf` classifiers in direct action (tc-bpf(8), pkt_cls.h). */
import type { TcFilter, TcHook, TrafficControl } from '../contracts/kernel.ts';
import { UAPI_LAYOUTS } from '../uapi/index.ts';
import { concatBytes, readCString, utf8 } from '../util/bytes.ts';
import { BpfError } from '../util/errors.ts';
import type { Host } from './host.ts';
import { query } from './info.ts';
import { viewOf } from './layout.ts';
import { attribute, attributes, NLM_F, request, word } from './netlink.ts';

const RTM = { NEWQDISC: 36, DELQDISC: 37, NEWTFILTER: 44, DELTFILTER: 45, GETTFILTER: 46 } as const;
const TCMSG = 20;
const TC_H_CLSACT = 0xffff_fff1;
const CLSACT_HANDLE = 0xffff_0000;
const PARENTS = { ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const;
/** htons(ETH_P_ALL) in the low half of tcm_info; the priority is the high half. */
const EVERY_PROTOCOL = 0x0300;
const TCA = { KIND: 1, OPTIONS: 2 } as const;
const NESTED = 0x8000;
const TCA_BPF = { FD: 6, NAME: 7, FLAGS: 8, ID: 11 } as const;
const ACT_DIRECT = 1;

interface TcMessage {
  readonly ifindex: number;
  readonly handle: number;
  readonly parent: number;
  readonly info: number;
}

/** `struct tcmsg` and attributes. */
function tcMessage(
  { ifindex, handle, parent, info }: TcMessage,
  ...attrs: readonly Uint8Array[]
): Uint8Array {
  const head = new Uint8Array(TCMSG);
  const view = viewOf(head);
  view.setInt32(4, ifindex, true);
  view.setUint32(8, handle, true);
  view.setUint32(12, parent, true);
  view.setUint32(16, info, true);
  return concatBytes([head, ...attrs]);
}

const kind = (name: string): Uint8Array => attribute(TCA.KIND, utf8(`${name}\0`));

export function createTrafficControl(host: Host): TrafficControl {
  const qdisc = (ifindex: number): Uint8Array =>
    tcMessage({ ifindex, handle: CLSACT_HANDLE, parent: TC_H_CLSACT, info: 0 }, kind('clsact'));
  return {
    createQdisc(ifindex) {
      try {
        const flags = NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL;
        request(host, `clsact of interface ${ifindex}`, {
          type: RTM.NEWQDISC,
          flags,
          payload: qdisc(ifindex),
        });
        return true;
      } catch (error) {
        if (error instanceof BpfError && error.code === 'EEXIST') return false;
        throw error;
      }
    },
    destroyQdisc(ifindex) {
      const what = `clsact of interface ${ifindex}`;
      request(host, what, { type: RTM.DELQDISC, flags: NLM_F.ACK, payload: qdisc(ifindex) });
    },
    attach(filter) {
      const { progFd } = filter;
      const { id, name } = host.bpf.scope((frame) => {
        const info = query(host, frame, progFd, UAPI_LAYOUTS.bpf_prog_info);
        return { id: info.u32('id'), name: info.text('name') };
      });
      const how = filter.replace ? NLM_F.REPLACE : NLM_F.EXCL;
      const answers = request(host, `tc ${filter.direction} of interface ${filter.ifindex}`, {
        type: RTM.NEWTFILTER,
        // The echo says which handle and priority it got.
        flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.ECHO | how,
        payload: tcMessage(
          place(filter),
          kind('bpf'),
          attribute(
            TCA.OPTIONS | NESTED,
            attribute(TCA_BPF.FD, word(progFd)),
            attribute(TCA_BPF.NAME, utf8(`${name}:[${id}]\0`)),
            attribute(TCA_BPF.FLAGS, word(ACT_DIRECT)),
          ),
        ),
      });
      const answer = answers.find(({ type, payload }) => type === RTM.NEWTFILTER && payload.length >= TCMSG);
      return answer === undefined
        ? { handle: filter.handle ?? 0, priority: filter.priority ?? 0 }
        : placeOf(answer.payload);
    },
    detach(filter) {
      const what = `tc ${filter.direction} of interface ${filter.ifindex}`;
      request(host, what, {
        type: RTM.DELTFILTER,
        flags: NLM_F.ACK,
        payload: tcMessage(place(filter), kind('bpf')),
      });
    },
    query(hook) {
      const what = `tc ${hook.direction} of interface ${hook.ifindex}`;
      const payload = tcMessage({
        ifindex: hook.ifindex,
        handle: 0,
        parent: PARENTS[hook.direction],
        info: 0,
      });
      const answers = request(host, what, { type: RTM.GETTFILTER, flags: NLM_F.DUMP, payload });
      return answers.flatMap((answer) => {
        const options = attributes(answer.payload.subarray(TCMSG)).get(TCA.OPTIONS);
        const fields = options === undefined ? undefined : attributes(options);
        const id = fields?.get(TCA_BPF.ID);
        if (fields === undefined || id === undefined) return [];
        const name = fields.get(TCA_BPF.NAME);
        return [
          {
            ...placeOf(answer.payload),
            progId: viewOf(id).getUint32(0, true),
            name: name === undefined ? '' : readCString(name),
          },
        ];
      });
    },
  };
}

function place(filter: TcFilter & TcHook): TcMessage {
  return {
    ifindex: filter.ifindex,
    handle: filter.handle ?? 0,
    parent: PARENTS[filter.direction],
    info: (((filter.priority ?? 0) << 16) | EVERY_PROTOCOL) >>> 0,
  };
}

function placeOf(payload: Uint8Array): { handle: number; priority: number } {
  const view = viewOf(payload);
  return { handle: view.getUint32(8, true), priority: view.getUint32(16, true) >>> 16 };
}
