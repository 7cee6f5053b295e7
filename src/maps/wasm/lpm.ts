// LPM_TRIE: a binary trie compressed to forks. Keys are {u32 prefixlen, u8 data[]}; a fork without an entry of its own is
// "intermediate" and always has two children, so a trie of n entries has at most 2n - 1 nodes.
import {
  HDR_COUNT, HDR_DATA_SIZE, HDR_MAP_SEQ, HDR_MAX_ENTRIES, HDR_ROOT, HDR_VALUE_OFF, NODE_CHILD0, NODE_CHILD1, NODE_DATA,
  NODE_INTERMEDIATE, NODE_PREFIX, NODE_WORD,
} from '../layout';
import { copy, copyValue, EEXIST, EINVAL, ENOENT, ENOMEM, ENOSPC, EXIST, initSpecial, NOEXIST, release, take } from './common';
import { beginChange, beginRead, endChange, isUnchanged, peek, poke, SHARED } from './lock';

@inline
function bit(data: usize, index: u32): u32 {
  return (load<u8>(data + (index >> 3)) >> <u8>(7 - (index & 7))) & 1;
}

// Number of leading bits, at most `limit`, that agree. Reads whole bytes up to the one that holds bit `limit` - 1. `a`: data of a node,
// which another thread may be writing.
@inline
function common(a: usize, b: usize, limit: u32): u32 {
  let at: u32 = 0;
  while (at + 64 <= limit) {
    const diff = peek<u64>(a + (at >> 3)) ^ load<u64>(b + (at >> 3));
    if (diff) return at + <u32>clz<u64>(bswap<u64>(diff));
    at += 64;
  }
  while (at < limit) {
    const diff = <u32>(peek<u8>(a + (at >> 3)) ^ load<u8>(b + (at >> 3)));
    if (diff) {
      const found = at + clz<u32>(diff) - 24;
      return found < limit ? found : limit;
    }
    at += 8;
  }
  return limit;
}

@inline
function maxPrefix(map: usize): u32 {
  return load<u32>(map, HDR_DATA_SIZE) << 3;
}

@inline
function smaller(a: u32, b: u32): u32 {
  return a < b ? a : b;
}

@inline
function childSlot(node: usize, which: u32): usize {
  return node + NODE_CHILD0 + (which << 2);
}

@inline
function longest(map: usize, key: usize): usize {
  const prefix = load<u32>(key);
  const max = maxPrefix(map);
  if (prefix > max) return 0;
  const data = key + 4;
  let found: usize = 0;
  let node: usize = (SHARED ? atomic.load<u32>(map, HDR_ROOT) : load<u32>(map, HDR_ROOT));
  let above: i32 = -1;
  while (node) {
    const length = (SHARED ? atomic.load<u32>(node, NODE_PREFIX) : load<u32>(node, NODE_PREFIX));
    if (SHARED) {
      if (<i32>length <= above) break;
      above = length;
    }
    const match = common(node + NODE_DATA, data, smaller(length, prefix));
    if (match == max) {
      found = node;
      break;
    }
    if (match < length) break;
    if (!(SHARED ? atomic.load<u32>(node, NODE_INTERMEDIATE) : load<u32>(node, NODE_INTERMEDIATE))) found = node;
    if (length >= prefix && length >= max) break;
    node = length < max ? peek<u32>(childSlot(node, bit(data, length))) : 0;
  }
  return found ? found + load<u32>(map, HDR_VALUE_OFF) : 0;
}

// Four bytes of data, IPv4: nodes hold their data once more as a number (NODE_WORD), so that a step is a few instructions.
@inline
function longest4(map: usize, key: usize): usize {
  const prefix = load<u32>(key);
  if (prefix > 32) return 0;
  const word = bswap<u32>(load<u32>(key + 4));
  let found: usize = 0;
  let node: usize = (SHARED ? atomic.load<u32>(map, HDR_ROOT) : load<u32>(map, HDR_ROOT));
  let above: i32 = -1;
  while (node) {
    const length = (SHARED ? atomic.load<u32>(node, NODE_PREFIX) : load<u32>(node, NODE_PREFIX));
    if (SHARED) {
      if (<i32>length <= above) break;
      above = length;
    }
    const match = smaller(clz<u32>(word ^ (SHARED ? atomic.load<u32>(node, NODE_WORD) : load<u32>(node, NODE_WORD))), smaller(length, prefix));
    if (match < length) break;
    if (!(SHARED ? atomic.load<u32>(node, NODE_INTERMEDIATE) : load<u32>(node, NODE_INTERMEDIATE))) found = node;
    if (length >= 32) break;
    node = peek<u32>(childSlot(node, (word >> (31 - length)) & 1));
  }
  return found ? found + load<u32>(map, HDR_VALUE_OFF) : 0;
}

// Changes are rare: a lookup that met one is made again. While it meets one it may see nodes in any state, so the prefixes on its path
// must grow.
export function lpm_lookup(map: usize, key: usize): usize {
  if (!SHARED) return longest(map, key);
  while (true) {
    const seen = beginRead(map + HDR_MAP_SEQ);
    const found = longest(map, key);
    if (isUnchanged(map + HDR_MAP_SEQ, seen)) return found;
  }
}

export function lpm_lookup_4(map: usize, key: usize): usize {
  if (!SHARED) return longest4(map, key);
  while (true) {
    const seen = beginRead(map + HDR_MAP_SEQ);
    const found = longest4(map, key);
    if (isUnchanged(map + HDR_MAP_SEQ, seen)) return found;
  }
}

function make(map: usize, prefix: u32, data: usize, intermediate: u32): usize {
  const node = take(map);
  if (!node) return 0;
  store<u32>(node, 0, NODE_CHILD0);
  store<u32>(node, 0, NODE_CHILD1);
  store<u32>(node, prefix, NODE_PREFIX);
  store<u32>(node, intermediate, NODE_INTERMEDIATE);
  const size = load<u32>(map, HDR_DATA_SIZE);
  copy(node + NODE_DATA, data, size);
  if (size == 4) store<u32>(node, bswap<u32>(load<u32>(data)), NODE_WORD);
  return node;
}

@inline
function addCount(map: usize, n: i32): void {
  store<u32>(map, load<u32>(map, HDR_COUNT) + n, HDR_COUNT);
}

// ENOENT under BPF_EXIST, ENOSPC when the trie is full; counts the new entry otherwise.
@inline
function admit(map: usize, flags: u32): i32 {
  if (flags == EXIST) return ENOENT;
  if (load<u32>(map, HDR_COUNT) == load<u32>(map, HDR_MAX_ENTRIES)) return ENOSPC;
  addCount(map, 1);
  return 0;
}

export function lpm_update(map: usize, key: usize, value: usize, flags: u32, high: u32): i32 {
  if (high != 0 || flags > EXIST) return EINVAL;
  beginChange(map + HDR_MAP_SEQ);
  const result = insert(map, key, value, flags);
  endChange(map + HDR_MAP_SEQ);
  return result;
}

@inline
function insert(map: usize, key: usize, value: usize, flags: u32): i32 {
  const prefix = load<u32>(key);
  const max = maxPrefix(map);
  if (prefix > max) return EINVAL;
  const data = key + 4;
  const fresh = make(map, prefix, data, 0);
  if (!fresh) return ENOMEM;
  const valueAt = fresh + load<u32>(map, HDR_VALUE_OFF);
  copyValue(map, valueAt, value);
  initSpecial(map, valueAt);

  let at: usize = map + HDR_ROOT;
  let node: usize = 0;
  let match: u32 = 0;
  while (true) {
    node = load<u32>(at);
    if (!node) break;
    const length = load<u32>(node, NODE_PREFIX);
    match = common(node + NODE_DATA, data, smaller(length, prefix));
    if (length != match || length == prefix) break;
    at = childSlot(node, bit(data, length));
  }
  if (!node) {
    const refused = admit(map, flags);
    if (refused) release(map, fresh);
    else store<u32>(at, fresh);
    return refused;
  }
  const length = load<u32>(node, NODE_PREFIX);
  if (length == match && length == prefix) {
    if (load<u32>(node, NODE_INTERMEDIATE)) {
      const refused = admit(map, flags);
      if (refused) {
        release(map, fresh);
        return refused;
      }
    } else if (flags == NOEXIST) {
      release(map, fresh);
      return EEXIST;
    }
    store<u32>(fresh, load<u32>(node, NODE_CHILD0), NODE_CHILD0);
    store<u32>(fresh, load<u32>(node, NODE_CHILD1), NODE_CHILD1);
    store<u32>(at, fresh);
    release(map, node);
    return 0;
  }
  const refused = admit(map, flags);
  if (refused) {
    release(map, fresh);
    return refused;
  }
  if (match == prefix) {
    // The new entry covers the node.
    store<u32>(childSlot(fresh, bit(node + NODE_DATA, match)), node);
    store<u32>(at, fresh);
    return 0;
  }
  const fork = make(map, match, node + NODE_DATA, 1);
  if (!fork) {
    addCount(map, -1);
    release(map, fresh);
    return ENOMEM;
  }
  const side = bit(data, match);
  store<u32>(childSlot(fork, side), fresh);
  store<u32>(childSlot(fork, side ^ 1), node);
  store<u32>(at, fork);
  return 0;
}

export function lpm_delete(map: usize, key: usize): i32 {
  beginChange(map + HDR_MAP_SEQ);
  const result = remove(map, key);
  endChange(map + HDR_MAP_SEQ);
  return result;
}

@inline
function remove(map: usize, key: usize): i32 {
  const prefix = load<u32>(key);
  if (prefix > maxPrefix(map)) return EINVAL;
  const data = key + 4;
  let at: usize = map + HDR_ROOT;
  let above: usize = 0;
  let parent: usize = 0;
  let node: usize = 0;
  while (true) {
    node = load<u32>(at);
    if (!node) return ENOENT;
    const length = load<u32>(node, NODE_PREFIX);
    const match = common(node + NODE_DATA, data, smaller(length, prefix));
    if (length != match) return ENOENT;
    if (length == prefix) break;
    parent = node;
    above = at;
    at = childSlot(node, bit(data, length));
  }
  if (load<u32>(node, NODE_INTERMEDIATE)) return ENOENT;
  addCount(map, -1);
  const child0 = load<u32>(node, NODE_CHILD0);
  const child1 = load<u32>(node, NODE_CHILD1);
  if (child0 && child1) {
    store<u32>(node, 1, NODE_INTERMEDIATE);
    return 0;
  }
  if (parent && load<u32>(parent, NODE_INTERMEDIATE) && !child0 && !child1) {
    const left = load<u32>(parent, NODE_CHILD0);
    const sibling = left == node ? load<u32>(parent, NODE_CHILD1) : left;
    store<u32>(above, sibling);
    release(map, parent);
    release(map, node);
    return 0;
  }
  store<u32>(at, child0 ? child0 : child1);
  release(map, node);
  return 0;
}

function leftmost(from: usize): usize {
  let node = from;
  let found: usize = 0;
  while (node) {
    const child0: usize = load<u32>(node, NODE_CHILD0);
    if (load<u32>(node, NODE_INTERMEDIATE)) node = child0;
    else {
      found = node;
      node = child0 ? child0 : load<u32>(node, NODE_CHILD1);
    }
  }
  return found;
}

// The parent of `child`, which lies on the path of `data`.
function parentOf(map: usize, child: usize, data: usize): usize {
  let node: usize = load<u32>(map, HDR_ROOT);
  let parent: usize = 0;
  while (node != child) {
    parent = node;
    node = load<u32>(childSlot(node, bit(data, load<u32>(node, NODE_PREFIX))));
  }
  return parent;
}

// Copies the key of the entry after this one in postorder (longer prefixes first); of the first one where the key is 0, invalid
// or gone. 0 at the end.
export function lpm_next_key(map: usize, key: usize, to: usize): i32 {
  beginChange(map + HDR_MAP_SEQ);
  const node = next(map, key);
  if (node) {
    store<u32>(to, load<u32>(node, NODE_PREFIX));
    copy(to + 4, node + NODE_DATA, load<u32>(map, HDR_DATA_SIZE));
  }
  endChange(map + HDR_MAP_SEQ);
  return node ? 1 : 0;
}

// Copies `size` bytes of the value that a lookup finds while nothing changes; 1 where there is one.
export function lpm_read(map: usize, key: usize, to: usize, size: u32): i32 {
  beginChange(map + HDR_MAP_SEQ);
  const at = longest(map, key);
  if (at) copy(to, at, size);
  endChange(map + HDR_MAP_SEQ);
  return at ? 1 : 0;
}

@inline
function next(map: usize, key: usize): usize {
  const root: usize = load<u32>(map, HDR_ROOT);
  if (!root) return 0;
  if (!key) return leftmost(root);
  const prefix = load<u32>(key);
  if (prefix > maxPrefix(map)) return leftmost(root);
  const data = key + 4;
  let node = root;
  while (node) {
    const length = load<u32>(node, NODE_PREFIX);
    const match = common(node + NODE_DATA, data, smaller(length, prefix));
    if (length != match) return leftmost(root);
    if (length == prefix) break;
    node = load<u32>(childSlot(node, bit(data, length)));
  }
  if (!node || load<u32>(node, NODE_INTERMEDIATE)) return leftmost(root);
  while (node != root) {
    const parent = parentOf(map, node, data);
    if (load<u32>(parent, NODE_CHILD0) == node) {
      const other = load<u32>(parent, NODE_CHILD1);
      if (other) return leftmost(other);
    }
    if (!load<u32>(parent, NODE_INTERMEDIATE)) return parent;
    node = parent;
  }
  return 0;
}
