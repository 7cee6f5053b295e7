/**
 * Macros of the BCC dialect that declare tables: each becomes a map definition in section `.maps`. Names, order of arguments and default values are
 * those of BCC's reference guide ("Maps").
 */
import { letters, macro } from './text.ts';

/** `NAME(a, b, c)` with default values for what is left out at the end. */
function withDefaults(name: string, least: number, defaults: readonly string[], target: string): string {
  const most = least + defaults.length;
  let text = '';
  for (let n = least; n <= most; n++) {
    const names = letters(n);
    text += macro(
      `${name}_${n}(${names.join(', ')})`,
      `${target}(${[...names, ...defaults.slice(n - least)].join(', ')})`,
    );
  }
  const slots = letters(most, '_').join(', ');
  const choice = Array.from({ length: most }, (_, i) => {
    const n = most - i;
    return n < least ? `${name}_${least}` : `${name}_${n}`;
  }).join(', ');
  text += macro(`${name}_nth(${slots}, N, ...)`, 'N');
  return text + macro(`${name}(args...)`, `${name}_nth(args, ${choice}, 0)(args)`);
}

export function tables(): string {
  const map = (type: string, key: string, leaf: string, name: string, size: string, more = ''): string =>
    `struct { __uint(type, ${type}); ${key}${leaf}${size === '' ? '' : `__uint(max_entries, ${size}); `}${more}} ${name} __attribute__((section(".maps"), used))`;
  const typed = (type: string, more = ''): string =>
    map(type, '__type(key, _K); ', '__type(value, _V); ', '_name', '_size', more);
  const keyed = (name: string, type: string, more = ''): string =>
    macro(`__BCC_${name}(_name, _K, _V, _size)`, typed(type, more));
  // The kind is a string: what stands behind `:` and `$` in it, and who may take the table, is for the front end.
  let text =
    macro(
      '__BCC_KIND(_t, _K, _name, _lent)',
      '(__bcc_table_kind(_t, #_name, _lent) != 0x1000 ? __bcc_table_kind(_t, #_name, _lent) : __builtin_types_compatible_p(_K, int) ? BPF_MAP_TYPE_ARRAY : BPF_MAP_TYPE_HASH)',
    ) +
    macro(
      '__BCC_TABLE(_t, _K, _V, _name, _size, _flags, _lent)',
      typed('__BCC_KIND(_t, _K, _name, _lent)', '__uint(map_flags, _flags); '),
    ) +
    macro('BPF_TABLE(_t, _K, _V, _name, _size)', '__BCC_TABLE(_t, _K, _V, _name, _size, 0, "")') +
    macro(
      'BPF_F_TABLE(_t, _K, _V, _name, _size, _flags)',
      '__BCC_TABLE(_t, _K, _V, _name, _size, _flags, "")',
    ) +
    macro(
      'BPF_TABLE_PUBLIC(_t, _K, _V, _name, _size)',
      '__BCC_TABLE(_t, _K, _V, _name, _size, 0, "public")',
    ) +
    macro(
      '__BCC_SHARED(_t, _K, _V, _name, _size, _flags)',
      '__BCC_TABLE(_t, _K, _V, _name, _size, _flags, "shared")',
    ) +
    withDefaults('BPF_TABLE_SHARED', 5, ['0'], '__BCC_SHARED') +
    macro(
      '__BCC_PINNED(_t, _K, _V, _name, _size, _path, _flags)',
      '__BCC_TABLE(_t ":" _path, _K, _V, _name, _size, _flags, "")',
    ) +
    withDefaults('BPF_TABLE_PINNED', 6, ['0'], '__BCC_PINNED') +
    macro('BPF_XDP_REDIRECT_MAP(_t, _V, _name, _size)', 'BPF_TABLE(_t, int, _V, _name, _size)') +
    macro(
      'BPF_ARRAY_OF_MAPS(_name, _inner, _size)',
      'BPF_TABLE("array_of_maps$" _inner, int, int, _name, _size)',
    ) +
    macro(
      '__BCC_HASH_OF_MAPS(_name, _K, _inner, _size)',
      'BPF_TABLE("hash_of_maps$" _inner, _K, int, _name, _size)',
    ) +
    macro('BPF_HASH_OF_MAPS_2(_name, _inner)', '__BCC_HASH_OF_MAPS(_name, int, _inner, 10240)') +
    macro('BPF_HASH_OF_MAPS_3(_name, _K, _inner)', '__BCC_HASH_OF_MAPS(_name, _K, _inner, 10240)') +
    macro('BPF_HASH_OF_MAPS_nth(_a, _b, _c, _d, N, ...)', 'N') +
    macro(
      'BPF_HASH_OF_MAPS(args...)',
      'BPF_HASH_OF_MAPS_nth(args, __BCC_HASH_OF_MAPS, BPF_HASH_OF_MAPS_3, BPF_HASH_OF_MAPS_2, 0)(args)',
    );
  const queue = map(
    '__bcc_table_kind(_t, #_name, _lent)',
    '',
    '__type(value, _V); ',
    '_name',
    '_size',
    '__uint(map_flags, _flags); ',
  );
  text +=
    macro('__BCC_QUEUESTACK(_t, _name, _V, _size, _flags, _lent)', queue) +
    macro(
      'BPF_QUEUESTACK(_t, _name, _V, _size, _flags)',
      '__BCC_QUEUESTACK(_t, _name, _V, _size, _flags, "")',
    ) +
    macro(
      'BPF_QUEUESTACK_PINNED(_t, _name, _V, _size, _flags, _path)',
      '__BCC_QUEUESTACK(_t ":" _path, _name, _V, _size, _flags, "")',
    );
  for (const how of ['PUBLIC', 'SHARED'])
    text += macro(
      `BPF_QUEUESTACK_${how}(_t, _name, _V, _size, _flags)`,
      `__BCC_QUEUESTACK(_t, _name, _V, _size, _flags, "${how.toLowerCase()}")`,
    );
  for (const kind of ['cgroup_storage', 'percpu_cgroup_storage'])
    text += macro(
      `BPF_${kind.toUpperCase()}(_name, _V)`,
      `struct { __uint(type, __bcc_table_kind("${kind}", #_name, "")); __type(key, struct bpf_cgroup_storage_key); __type(value, _V); } _name __attribute__((section(".maps"), used))`,
    );
  for (const [name, type] of [
    ['QUEUE', 'BPF_MAP_TYPE_QUEUE'],
    ['STACK', 'BPF_MAP_TYPE_STACK'],
  ] as const) {
    text += macro(
      `__BCC_${name}(_name, _V, _size, _flags)`,
      map(type, '', '__type(value, _V); ', '_name', '_size', '__uint(map_flags, _flags); '),
    );
    text += withDefaults(`BPF_${name}`, 3, ['0'], `__BCC_${name}`);
  }
  for (const [name, type, more] of [
    ['HASH', 'BPF_MAP_TYPE_HASH', ''],
    ['PERCPU_HASH', 'BPF_MAP_TYPE_PERCPU_HASH', ''],
    ['LRU_HASH', 'BPF_MAP_TYPE_LRU_HASH', ''],
    ['LRU_PERCPU_HASH', 'BPF_MAP_TYPE_LRU_PERCPU_HASH', ''],
    ['LPM_TRIE', 'BPF_MAP_TYPE_LPM_TRIE', '__uint(map_flags, BPF_F_NO_PREALLOC); '],
  ] as const) {
    text += keyed(name, type, more);
    text += withDefaults(`BPF_${name}`, 1, ['u64', 'u64', '10240'], `__BCC_${name}`);
  }
  for (const name of ['ARRAY', 'PERCPU_ARRAY']) {
    text += macro(
      `__BCC_${name}(_name, _V, _size)`,
      map(`BPF_MAP_TYPE_${name}`, '__type(key, int); ', '__type(value, _V); ', '_name', '_size'),
    );
    text += withDefaults(`BPF_${name}`, 1, ['u64', '10240'], `__BCC_${name}`);
  }
  // Histograms are arrays where the slots are plain numbers.
  text += macro(
    '__BCC_HISTOGRAM(_name, _K, _size)',
    map(
      '(__builtin_types_compatible_p(_K, int) ? BPF_MAP_TYPE_ARRAY : BPF_MAP_TYPE_HASH)',
      '__type(key, _K); ',
      '__type(value, u64); ',
      '_name',
      '_size',
    ),
  );
  text += withDefaults('BPF_HISTOGRAM', 1, ['int', '64'], '__BCC_HISTOGRAM');
  const slots = (name: string, type: string, size: string, parameters: string): string =>
    macro(`${name}(${parameters})`, map(type, '__type(key, int); ', '__type(value, u32); ', '_name', size));
  text += slots('BPF_PERF_OUTPUT', 'BPF_MAP_TYPE_PERF_EVENT_ARRAY', '', '_name');
  text += slots('BPF_PERF_ARRAY', 'BPF_MAP_TYPE_PERF_EVENT_ARRAY', '_size', '_name, _size');
  text += slots('BPF_PROG_ARRAY', 'BPF_MAP_TYPE_PROG_ARRAY', '_size', '_name, _size');
  text += slots('BPF_CGROUP_ARRAY', 'BPF_MAP_TYPE_CGROUP_ARRAY', '_size', '_name, _size');
  text += slots('BPF_DEVMAP', 'BPF_MAP_TYPE_DEVMAP', '_size', '_name, _size');
  text += slots('BPF_CPUMAP', 'BPF_MAP_TYPE_CPUMAP', '_size', '_name, _size');
  text += macro(
    '__BCC_XSKMAP(_name, _size, _path)',
    map(
      '__bcc_table_kind("xskmap:" _path, #_name, "")',
      '__type(key, int); ',
      '__type(value, u32); ',
      '_name',
      '_size',
    ),
  );
  text += withDefaults('BPF_XSKMAP', 2, ['""'], '__BCC_XSKMAP');
  text += slots('BPF_SOCKMAP', 'BPF_MAP_TYPE_SOCKMAP', '_size', '_name, _size');
  text += macro(
    '__BCC_SOCKHASH(_name, _K, _size)',
    map('BPF_MAP_TYPE_SOCKHASH', '__type(key, _K); ', '__type(value, u32); ', '_name', '_size'),
  );
  text += withDefaults('BPF_SOCKHASH', 1, ['u32', '10240'], '__BCC_SOCKHASH');
  // A ring buffer that is full does not say so to its reader: methods that find no room count it.
  text += macro(
    'BPF_RINGBUF_OUTPUT(_name, _pages)',
    `static u64 __bcc_lost_##_name __attribute__((unused)); ${map('BPF_MAP_TYPE_RINGBUF', '', '', '_name', '((_pages) * 4096)')}`,
  );
  text += macro(
    '__BCC_STACK_TRACE(_name, _size, _flags)',
    map(
      'BPF_MAP_TYPE_STACK_TRACE',
      '__uint(key_size, 4); ',
      '__uint(value_size, ((_flags) & BPF_F_STACK_BUILD_ID ? 32 : 8) * 127); ',
      '_name',
      '_size',
      '__uint(map_flags, _flags); ',
    ),
  );
  text += macro('BPF_STACK_TRACE(_name, _size)', '__BCC_STACK_TRACE(_name, _size, 0)');
  text += macro(
    'BPF_STACK_TRACE_BUILDID(_name, _size)',
    '__BCC_STACK_TRACE(_name, _size, BPF_F_STACK_BUILD_ID)',
  );
  for (const name of ['SK', 'INODE', 'TASK'])
    text += macro(
      `BPF_${name}_STORAGE(_name, _V)`,
      map(
        `BPF_MAP_TYPE_${name}_STORAGE`,
        '__type(key, int); ',
        '__type(value, _V); ',
        '_name',
        '',
        '__uint(map_flags, BPF_F_NO_PREALLOC); ',
      ),
    );
  return text;
}
