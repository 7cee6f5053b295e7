// ARRAY, PERCPU_ARRAY and ARRAY_OF_MAPS.
import { HDR_CPU_STRIDE, HDR_CPUS, HDR_HAS_LOCK, HDR_MAX_ENTRIES, HDR_STRIDE, HDR_VALUES } from '../layout';
import { copy, copyLocked, copyValue, currentCpu, E2BIG, EEXIST, EINVAL, EXIST, F_LOCK, NOEXIST } from './common';
import { SHARED } from './lock';

@inline
function slot(map: usize, index: u32): usize {
  return load<u32>(map, HDR_VALUES) + index * load<u32>(map, HDR_STRIDE);
}

export function array_lookup(map: usize, key: usize): usize {
  const index = load<u32>(key);
  return index < load<u32>(map, HDR_MAX_ENTRIES) ? slot(map, index) : 0;
}

export function array_update(map: usize, key: usize, value: usize, flags: u32, high: u32): i32 {
  if (high != 0 || (flags & ~F_LOCK) > EXIST) return EINVAL;
  const index = load<u32>(key);
  if (index >= load<u32>(map, HDR_MAX_ENTRIES)) return E2BIG;
  if (flags & NOEXIST) return EEXIST;
  if (flags & F_LOCK && !load<u32>(map, HDR_HAS_LOCK)) return EINVAL;
  const to = slot(map, index);
  if (SHARED && flags & F_LOCK) copyLocked(map, to, value, to);
  else copyValue(map, to, value);
  return 0;
}

export function array_delete(map: usize, key: usize): i32 {
  return EINVAL;
}

export function percpu_array_lookup(map: usize, key: usize): usize {
  const index = load<u32>(key);
  return index < load<u32>(map, HDR_MAX_ENTRIES)
    ? slot(map, index) + currentCpu() * load<u32>(map, HDR_CPU_STRIDE)
    : 0;
}

export function percpu_array_lookup_cpu(map: usize, key: usize, cpu: u32): usize {
  const index = load<u32>(key);
  return index < load<u32>(map, HDR_MAX_ENTRIES) && cpu < load<u32>(map, HDR_CPUS)
    ? slot(map, index) + cpu * load<u32>(map, HDR_CPU_STRIDE)
    : 0;
}

export function percpu_array_update(map: usize, key: usize, value: usize, flags: u32, high: u32): i32 {
  if (high != 0 || flags > EXIST) return EINVAL;
  const index = load<u32>(key);
  if (index >= load<u32>(map, HDR_MAX_ENTRIES)) return E2BIG;
  if (flags == NOEXIST) return EEXIST;
  copyValue(map, slot(map, index) + currentCpu() * load<u32>(map, HDR_CPU_STRIDE), value);
  return 0;
}

// The view of user space: `values` holds one value a CPU, each HDR_STRIDE bytes.
export function percpu_array_update_all(map: usize, key: usize, values: usize, flags: u32, high: u32): i32 {
  if (high != 0 || flags > EXIST) return EINVAL;
  const index = load<u32>(key);
  if (index >= load<u32>(map, HDR_MAX_ENTRIES)) return E2BIG;
  if (flags == NOEXIST) return EEXIST;
  const stride = load<u32>(map, HDR_STRIDE);
  let to = slot(map, index);
  const cpus = load<u32>(map, HDR_CPUS);
  for (let cpu: u32 = 0; cpu < cpus; cpu++) {
    copy(to, values, stride);
    values += stride;
    to += load<u32>(map, HDR_CPU_STRIDE);
  }
  return 0;
}

// DEVMAP, CPUMAP: a slot is an entry once its first word is not 0.
export function slot_lookup(map: usize, key: usize): usize {
  const at = array_lookup(map, key);
  return at && load<u32>(at) ? at : 0;
}

export function array_of_maps_lookup(map: usize, key: usize): usize {
  const index = load<u32>(key);
  return index < load<u32>(map, HDR_MAX_ENTRIES) ? load<u32>(slot(map, index)) : 0;
}
