/**
 * Classic programs beside Linux: random ones are attached to a socket (SO_ATTACH_FILTER) and run on datagrams there, and here on
 * both engines after conversion. A datagram keeps as many bytes as the filter returns.
 */
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { type ClassicInsn, checkClassic, encodeClassic, formatClassic } from '../../src/cbpf/index.ts';
import { type BpfError, toHex } from '../../src/util/index.ts';
import { createSetup, runOnPacket } from '../../tools/conformance/isa.ts';
import { randomClassic, seeded } from '../cbpf/random.ts';
import { openHost, skipReason } from './host-support.ts';

const PROGRAMS = Number(process.env.CLASSIC_PROGRAMS ?? 3000);
const SEED = Number(process.env.CLASSIC_SEED ?? 1);
/** What a datagram between local sockets has, and no device: protocol and the like are 0 there. Not: cpu, rand, hash. */
const ANCILLARY = [0, 8, 12, 16, 20, 28, 40, 44, 48];

const host = await openHost();
if (typeof host === 'string') {
  describe.skip(`classic programs: ${skipReason('classic programs beside Linux', host)}`, () =>
    it('cannot be attached here', () => {}));
} else {
  host.shutdown();
  const socket = openSockets();
  const setup = createSetup('both');
  const random = seeded(SEED);

  describe(`${PROGRAMS} random classic programs, seed ${SEED}`, () => {
    it('are taken, refused and run as Linux does', () => {
      let accepted = 0;
      for (let i = 0; i < PROGRAMS; i++) {
        const insns = randomClassic(random, ANCILLARY);
        const packet = Uint8Array.from({ length: 8 + random(120) }, () => random(256));
        const linux = socket.run(insns, packet);
        const ours = runHere(insns, packet);
        expect(ours, `program ${i} on ${toHex(packet)}:\n${formatClassic(insns)}`).toEqual(
          typeof linux === 'string' ? [linux] : setup.engines.map(() => linux),
        );
        if (typeof linux === 'number') accepted++;
      }
      // A generator whose programs are all refused, or all taken, shows nothing.
      expect(accepted).toBeGreaterThan(PROGRAMS / 4);
      expect(accepted).toBeLessThan(PROGRAMS);
      console.log(
        `classic programs beside Linux: ${accepted} of ${PROGRAMS} accepted and run, 0 differences`,
      );
      socket.close();
    });
  });

  /** The length kept on each engine, or the error. */
  function runHere(insns: readonly ClassicInsn[], packet: Uint8Array): (number | string)[] {
    try {
      checkClassic(insns);
    } catch (error) {
      return [(error as BpfError).code];
    }
    const built = setup.build({ name: 'random', kind: 'classic', insns: toHex(encodeClassic(insns)) });
    if ('rejected' in built) return [built.rejected];
    return setup.engines.map((engine) => {
      const program = engine.prepare(built, setup.env);
      const kept = runOnPacket(setup, program, packet, {});
      program.release();
      return Math.min(kept, packet.length);
    });
  }
}

interface Sockets {
  run(insns: readonly ClassicInsn[], packet: Uint8Array): number | string;
  close(): void;
}

function openSockets(): Sockets {
  const koffi = createRequire(import.meta.url)('koffi');
  const libc = koffi.load(null);
  const pair = new Int32Array(2);
  const AF_UNIX = 1;
  const SOCK_DGRAM_NONBLOCK = 2 | 0o4000;
  if (libc.func('int socketpair(int, int, int, int *)')(AF_UNIX, SOCK_DGRAM_NONBLOCK, 0, pair) !== 0)
    throw new Error('no pair of sockets');
  const [reader, writer] = pair;
  const Fprog = koffi.struct({ len: 'uint16_t', filter: 'uint8_t *' });
  const attach = libc.func('setsockopt', 'int', ['int', 'int', 'int', koffi.pointer(Fprog), 'uint32_t']);
  const send = libc.func('int64_t send(int, const uint8_t *, size_t, int)');
  const receive = libc.func('int64_t recv(int, _Out_ uint8_t *, size_t, int)');
  const close = libc.func('int close(int)');
  const room = new Uint8Array(4096);
  const SOL_SOCKET = 1;
  const SO_ATTACH_FILTER = 26;
  return {
    run: (insns, packet) => {
      const program = { len: insns.length, filter: encodeClassic(insns) };
      if (attach(reader, SOL_SOCKET, SO_ATTACH_FILTER, program, 16) !== 0)
        return koffi.errno() === koffi.os.errno.EINVAL ? 'EINVAL' : `errno ${koffi.errno()}`;
      send(writer, packet, packet.length, 0);
      // A filter that keeps nothing drops the datagram.
      return Math.max(0, Number(receive(reader, room, room.length, 0)));
    },
    close: () => {
      close(reader);
      close(writer);
    },
  };
}
