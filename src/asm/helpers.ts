/** Helper names and numbers for the assembler and the disassembler, from the UAPI's `enum bpf_func_id`. */
import { BPF_FUNC } from '../uapi/index.ts';

const PREFIX = 'BPF_FUNC_';

let byName: Map<string, number> | undefined;
let byId: Map<number, string> | undefined;

function load(): void {
  byName = new Map();
  byId = new Map();
  for (const [constant, id] of Object.entries(BPF_FUNC)) {
    if (!constant.startsWith(PREFIX)) continue;
    const name = `bpf_${constant.slice(PREFIX.length)}`;
    byName.set(name, id);
    byId.set(id, name);
  }
}

/** `bpf_map_lookup_elem` for 1; undefined for a number that no helper has. */
export function helperNameById(id: number): string | undefined {
  if (byId === undefined) load();
  return byId!.get(id);
}

/** 1 for `bpf_map_lookup_elem`, also without the `bpf_`; undefined for a name that no helper has. */
export function helperIdByName(name: string): number | undefined {
  if (byName === undefined) load();
  return byName!.get(name) ?? byName!.get(`bpf_${name}`);
}
