/**
 * Runs programs on the Linux kernel of this machine by way of `linux-oracle.c`: what it says of a load (errno, log) and
 * of one run (return value, packet, maps). Where there is no compiler, no Linux or no privilege, `reason` says so and
 * callers skip. Touches nothing but the programs and maps that it makes.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface OracleMap {
  /** Number of `enum bpf_map_type`. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** Elements to put in before the run; a per-CPU map gets the value on every CPU. Hex. */
  readonly elements: readonly { readonly key: string; readonly value: string }[];
}

export interface OracleRequest {
  /** Number of `enum bpf_prog_type`. */
  readonly progType: number;
  readonly logLevel: 0 | 1 | 2;
  /** Packet for one run after the load, hex; absent: load only. */
  readonly run?: string;
  readonly maps: readonly OracleMap[];
  /** Slots whose immediate is the descriptor of a map. */
  readonly fixes: readonly { readonly slot: number; readonly map: number }[];
  /** Instructions, hex. */
  readonly insns: string;
}

export interface OracleAnswer {
  readonly loadErrno: number;
  readonly runErrno: number;
  readonly retval: number;
  readonly dataOut: string;
  readonly log: readonly string[];
  readonly elements: readonly { readonly map: number; readonly key: string; readonly value: string }[];
}

export interface Oracle {
  ask(requests: readonly OracleRequest[]): OracleAnswer[];
  close(): void;
}

const SOURCE = fileURLToPath(new URL('./linux-oracle.c', import.meta.url));

/** Compiles the oracle and loads one program with it. */
export function openOracle(): Oracle | { readonly reason: string } {
  if (process.platform !== 'linux') return { reason: 'not Linux' };
  const dir = mkdtempSync(join(tmpdir(), 'tsbpf-oracle-'));
  const program = join(dir, 'linux-oracle');
  const close = () => rmSync(dir, { recursive: true, force: true });
  const cc = spawnSync('cc', ['-O2', '-w', '-o', program, SOURCE], { encoding: 'utf8' });
  if (cc.status !== 0) {
    close();
    return { reason: `no C compiler with linux/bpf.h (${cc.error?.message ?? cc.stderr.split('\n')[0]})` };
  }
  const oracle = { ask: (requests: readonly OracleRequest[]) => ask(program, requests), close };
  const probe = oracle.ask([
    { progType: 1, logLevel: 0, maps: [], fixes: [], insns: 'b7000000000000009500000000000000' },
  ])[0];
  if (probe?.loadErrno === 0) return oracle;
  close();
  return { reason: `bpf(2) refuses to load programs (errno ${probe?.loadErrno ?? 'unknown'}): needs root` };
}

function requestLine(r: OracleRequest): string {
  const words: (string | number)[] = [
    r.progType,
    r.logLevel,
    r.run === undefined ? 0 : 1,
    r.run || '-',
    r.maps.length,
  ];
  for (const m of r.maps) {
    words.push(m.type, m.keySize, m.valueSize, m.maxEntries, m.elements.length);
    for (const e of m.elements) words.push(e.key || '-', e.value);
  }
  words.push(r.fixes.length);
  for (const f of r.fixes) words.push(f.slot, f.map);
  return [...words, r.insns].join(' ');
}

function ask(program: string, requests: readonly OracleRequest[]): OracleAnswer[] {
  const input = `${requests.map(requestLine).join('\n')}\n`;
  const run = spawnSync(program, { input, encoding: 'latin1', maxBuffer: 1 << 30, timeout: 300_000 });
  if (run.error !== undefined) throw run.error;
  const answers: OracleAnswer[] = [];
  let log: string[] = [];
  let elements: { map: number; key: string; value: string }[] = [];
  for (const line of run.stdout.split('\n')) {
    const rest = line.slice(2);
    if (line.startsWith('L ')) log.push(rest);
    else if (line.startsWith('M ')) {
      const [map, key, value] = rest.split(' ');
      elements.push({ map: Number(map), key: key!, value: value! });
    } else if (line.startsWith('R ')) {
      const [loadErrno, runErrno, retval, data] = rest.split(' ');
      answers.push({
        loadErrno: Number(loadErrno),
        runErrno: Number(runErrno),
        retval: Number(retval),
        dataOut: data === '-' ? '' : data!,
        log,
        elements,
      });
      log = [];
      elements = [];
    }
  }
  return answers;
}
