/** The commands of bpf(2) (enum bpf_cmd of Linux 6.18) and the method of the `Kernel` contract behind each. */
import type { CommandRow } from './types.ts';

export const COMMANDS: readonly CommandRow[] = [
  { id: 0, name: 'BPF_MAP_CREATE', method: 'mapCreate', since: '3.18' },
  { id: 1, name: 'BPF_MAP_LOOKUP_ELEM', method: 'mapLookupElem', since: '3.18' },
  { id: 2, name: 'BPF_MAP_UPDATE_ELEM', method: 'mapUpdateElem', since: '3.18' },
  { id: 3, name: 'BPF_MAP_DELETE_ELEM', method: 'mapDeleteElem', since: '3.18' },
  { id: 4, name: 'BPF_MAP_GET_NEXT_KEY', method: 'mapGetNextKey', since: '3.18' },
  { id: 5, name: 'BPF_PROG_LOAD', method: 'progLoad', since: '3.18' },
  { id: 6, name: 'BPF_OBJ_PIN', method: 'objPin', since: '4.4' },
  { id: 7, name: 'BPF_OBJ_GET', method: 'objGet', since: '4.4' },
  { id: 8, name: 'BPF_PROG_ATTACH', method: 'progAttach', since: '4.10' },
  { id: 9, name: 'BPF_PROG_DETACH', method: 'progDetach', since: '4.10' },
  { id: 10, name: 'BPF_PROG_TEST_RUN', method: 'progTestRun', aliases: ['BPF_PROG_RUN'], since: '4.12' },
  { id: 11, name: 'BPF_PROG_GET_NEXT_ID', method: 'objGetNextId', objectKind: 'prog', since: '4.13' },
  { id: 12, name: 'BPF_MAP_GET_NEXT_ID', method: 'objGetNextId', objectKind: 'map', since: '4.13' },
  { id: 13, name: 'BPF_PROG_GET_FD_BY_ID', method: 'objGetFdById', objectKind: 'prog', since: '4.13' },
  { id: 14, name: 'BPF_MAP_GET_FD_BY_ID', method: 'objGetFdById', objectKind: 'map', since: '4.13' },
  { id: 15, name: 'BPF_OBJ_GET_INFO_BY_FD', method: 'objGetInfoByFd', since: '4.13' },
  { id: 16, name: 'BPF_PROG_QUERY', method: 'progQuery', since: '4.15' },
  { id: 17, name: 'BPF_RAW_TRACEPOINT_OPEN', method: 'rawTracepointOpen', since: '4.17' },
  { id: 18, name: 'BPF_BTF_LOAD', method: 'btfLoad', since: '4.18' },
  { id: 19, name: 'BPF_BTF_GET_FD_BY_ID', method: 'objGetFdById', objectKind: 'btf', since: '4.19' },
  { id: 20, name: 'BPF_TASK_FD_QUERY', method: 'taskFdQuery', since: '4.18' },
  { id: 21, name: 'BPF_MAP_LOOKUP_AND_DELETE_ELEM', method: 'mapLookupAndDeleteElem', since: '4.20' },
  { id: 22, name: 'BPF_MAP_FREEZE', method: 'mapFreeze', since: '5.2' },
  { id: 23, name: 'BPF_BTF_GET_NEXT_ID', method: 'objGetNextId', objectKind: 'btf', since: '5.4' },
  { id: 24, name: 'BPF_MAP_LOOKUP_BATCH', method: 'mapLookupBatch', since: '5.6' },
  { id: 25, name: 'BPF_MAP_LOOKUP_AND_DELETE_BATCH', method: 'mapLookupAndDeleteBatch', since: '5.6' },
  { id: 26, name: 'BPF_MAP_UPDATE_BATCH', method: 'mapUpdateBatch', since: '5.6' },
  { id: 27, name: 'BPF_MAP_DELETE_BATCH', method: 'mapDeleteBatch', since: '5.6' },
  { id: 28, name: 'BPF_LINK_CREATE', method: 'linkCreate', since: '5.7' },
  { id: 29, name: 'BPF_LINK_UPDATE', method: 'linkUpdate', since: '5.7' },
  { id: 30, name: 'BPF_LINK_GET_FD_BY_ID', method: 'objGetFdById', objectKind: 'link', since: '5.8' },
  { id: 31, name: 'BPF_LINK_GET_NEXT_ID', method: 'objGetNextId', objectKind: 'link', since: '5.8' },
  { id: 32, name: 'BPF_ENABLE_STATS', method: 'enableStats', since: '5.8' },
  { id: 33, name: 'BPF_ITER_CREATE', method: 'iterCreate', since: '5.8' },
  { id: 34, name: 'BPF_LINK_DETACH', method: 'linkDetach', since: '5.9' },
  { id: 35, name: 'BPF_PROG_BIND_MAP', method: 'progBindMap', since: '5.10' },
  { id: 36, name: 'BPF_TOKEN_CREATE', method: 'tokenCreate', since: '6.9' },
  { id: 37, name: 'BPF_PROG_STREAM_READ_BY_FD', method: 'progStreamReadByFd', since: '6.17' },
];

const BY_NAME: ReadonlyMap<string, CommandRow> = new Map(
  COMMANDS.flatMap((row) => [row.name, ...(row.aliases ?? [])].map((name) => [name, row] as const)),
);

export function commandById(id: number): CommandRow | undefined {
  return COMMANDS[id];
}

/** By UAPI name, with or without `BPF_`. */
export function commandByName(name: string): CommandRow | undefined {
  return BY_NAME.get(name) ?? BY_NAME.get(`BPF_${name}`);
}
