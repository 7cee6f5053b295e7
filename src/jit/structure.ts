/**
 * Control flow as WebAssembly has it: a graph of blocks becomes a linear order with nested `block` and `loop` scopes.
 *
 * 1. Order. Strongly connected components, from the outside in, give the loops; components are put in topological
 *    order, so that every loop is contiguous and every other edge leads forward (Tarjan 1972; the nesting is that of
 *    Havlak 1997). A component with several entries (an irreducible region) gets a dispatch node in front, through which
 *    all edges to its entries go; it becomes the header.
 * 2. Scopes. A target of a forward edge that is not a plain fall-through gets a `block` that ends in front of it and
 *    starts at its first predecessor, moved outward until all scopes nest. This is what Ramsey's "Beyond Relooper" gets
 *    from the dominator tree, but code behind a loop stays behind it, and sequences of branches do not nest.
 *
 * Invariants: nothing recurses; the nesting of a reducible program without wide fan-ins is that of its source.
 */

/** A loop or block over the positions start..end-1 of `Layout.order`. A block is left by a branch to position `end`. */
export interface Scope {
  readonly kind: 'block' | 'loop';
  readonly start: number;
  readonly end: number;
}

export interface Layout {
  /** Node numbers in order of emission: those below `nodeCount` are the caller's, others are dispatch nodes. */
  readonly order: Int32Array;
  /** Position of each node in `order`. */
  readonly position: Int32Array;
  /** Successors with dispatch nodes put in between; same length as the caller's for its nodes. */
  readonly succs: readonly (readonly number[])[];
  /** For dispatch nodes: the numbers by which they choose, one per successor; selectors are unique in the function. */
  readonly dispatch: ReadonlyMap<number, readonly number[]>;
  /** Selector that an edge to this original node sets when it goes through a dispatch node; -1: never does. */
  readonly selector: Int32Array;
  /** Sorted by start, outermost first. */
  readonly scopes: readonly Scope[];
  /** Most scopes that are open at one place. */
  readonly depth: number;
}

interface Graph {
  readonly succs: number[][];
  readonly preds: number[][];
}

/** Working arrays of Tarjan's algorithm, made once: a component is far smaller than the graph it lies in. */
interface Scratch {
  readonly index: Int32Array;
  readonly low: Int32Array;
  readonly onStack: Uint8Array;
}

/**
 * How much is looked at before a graph is given up: loops inside of one another are gone over once for each that lies around them. Only
 * nests far deeper than anybody writes come to that; for those the functions are emitted through tables.
 */
const EFFORT_PER_NODE = 64;
const LEAST_EFFORT = 250_000;

/** Steps that are left. */
interface Effort {
  left: number;
}

/** `succs[n]`: successors of node n; node 0 is the entry, has no predecessors, and reaches every node. */
export function structure(original: readonly (readonly number[])[]): Layout {
  return structured(original) ?? unstructured(original);
}

/** The layout of a graph that cannot be put in scopes with sensible effort: its depth is more than anybody accepts. */
function unstructured(succs: readonly (readonly number[])[]): Layout {
  return {
    order: Int32Array.from(succs.keys()),
    position: Int32Array.from(succs.keys()),
    succs,
    dispatch: new Map(),
    selector: new Int32Array(succs.length).fill(-1),
    scopes: [],
    depth: Number.POSITIVE_INFINITY,
  };
}

function structured(original: readonly (readonly number[])[]): Layout | undefined {
  const succs = original.map((list) => [...list]);
  const preds: number[][] = succs.map(() => []);
  succs.forEach((list, from) => {
    for (const to of list) preds[to]!.push(from);
  });
  const graph = { succs, preds };
  const selectorOf: number[] = new Array(succs.length).fill(-1);
  const dispatch = new Map<number, number[]>();
  const ordered = orderNodes(graph, selectorOf, dispatch);
  if (ordered === undefined) return undefined;
  const { order, loops } = ordered;
  const position = new Int32Array(succs.length);
  order.forEach((node, i) => {
    position[node] = i;
  });
  const { scopes, depth } = placeScopes(order, position, succs, loops, original.length);
  return {
    order: Int32Array.from(order),
    position,
    succs,
    dispatch,
    selector: Int32Array.from(selectorOf),
    scopes,
    depth,
  };
}

/** What is put next: a node; the nodes of a component; the end of the loop that was opened last. */
type Task = number | readonly number[];
const LOOP_END = -1;

/** Step 1. Adds dispatch nodes to the graph where needed. undefined: that would take too long. */
function orderNodes(
  graph: Graph,
  selectorOf: number[],
  dispatch: Map<number, number[]>,
): { order: number[]; loops: Scope[] } | undefined {
  const order: number[] = [];
  const loops: Scope[] = [];
  const openLoops: number[] = [];
  // Region of a node: edges count only inside the innermost region that is being ordered. 0: already placed.
  const region: number[] = new Array(graph.succs.length).fill(1);
  let regions = 1;
  let selectors = 0;
  const size = graph.succs.length;
  const all = Array.from({ length: size }, (_, i) => i);
  const effort: Effort = { left: EFFORT_PER_NODE * size + LEAST_EFFORT };
  // Dispatch nodes are placed as soon as they are made, so that the search never meets them.
  const scratch = { index: new Int32Array(size), low: new Int32Array(size), onStack: new Uint8Array(size) };
  const tasks: Task[] = components(graph, scratch, region, 1, all);
  while (tasks.length > 0) {
    const task = tasks.pop()!;
    if (task === LOOP_END) {
      const start = openLoops.pop()!;
      loops.push({ kind: 'loop', start, end: order.length });
      continue;
    }
    if (typeof task === 'number') {
      region[task] = 0;
      order.push(task);
      continue;
    }
    effort.left -= task.length;
    if (effort.left < 0) return undefined;
    const id = ++regions;
    for (const node of task) region[node] = id;
    const entries = task.filter((node) => graph.preds[node]!.some((p) => region[p] !== id));
    let header = entries[0]!;
    let inner = task;
    if (entries.length > 1) {
      header = graph.succs.length;
      let low = selectors;
      for (const entry of entries) {
        if (selectorOf[entry]! < 0) selectorOf[entry] = selectors++;
        low = Math.min(low, selectorOf[entry]!);
      }
      // The table by which it chooses has a place for each number between.
      effort.left -= selectors - low;
      dispatch.set(
        header,
        entries.map((entry) => selectorOf[entry]!),
      );
      if (!addDispatch(graph, header, entries, effort)) return undefined;
      selectorOf.push(-1);
      region.push(0);
    } else {
      region[header] = 0;
      inner = task.filter((node) => node !== header);
    }
    openLoops.push(order.length);
    order.push(header);
    tasks.push(LOOP_END);
    // What the header reaches first is visited last, so that its fall-through comes first in the order.
    const first = graph.succs[header]!.filter((node) => region[node] === id);
    for (const next of components(graph, scratch, region, id, [...first, ...inner])) tasks.push(next);
  }
  return { order, loops };
}

/** Puts node `header` in front of `entries`: all edges to one of them now lead to it. false: that would take too long. */
function addDispatch(graph: Graph, header: number, entries: readonly number[], effort: Effort): boolean {
  const headerPreds = new Set<number>();
  for (const entry of entries) {
    for (const pred of graph.preds[entry]!) {
      const list = graph.succs[pred]!;
      effort.left -= list.length;
      if (effort.left < 0) return false;
      for (let i = 0; i < list.length; i++) if (list[i] === entry) list[i] = header;
      headerPreds.add(pred);
    }
    graph.preds[entry] = [header];
  }
  graph.succs.push([...entries]);
  graph.preds.push([...headerPreds]);
  return true;
}

/**
 * Strongly connected components of the nodes of region `id`, as tasks with the topologically first one last (they are
 * popped). Roots are tried in the order given; successors are visited in order, so that the last successor of a node
 * tends to follow it.
 */
function components(
  graph: Graph,
  scratch: Scratch,
  region: readonly number[],
  id: number,
  roots: readonly number[],
): Task[] {
  const { index, low, onStack } = scratch;
  for (const node of roots) index[node] = 0;
  const found: Task[] = [];
  const stack: number[] = [];
  const path: number[] = [];
  const cursor: number[] = [];
  let counter = 0;
  for (const root of roots) {
    if (index[root] !== 0) continue;
    path.push(root);
    cursor.push(0);
    index[root] = low[root] = ++counter;
    stack.push(root);
    onStack[root] = 1;
    while (path.length > 0) {
      const node = path[path.length - 1]!;
      const list = graph.succs[node]!;
      const at = cursor[cursor.length - 1]!;
      if (at < list.length) {
        cursor[cursor.length - 1] = at + 1;
        const next = list[at]!;
        if (region[next] !== id) continue;
        if (index[next] === 0) {
          path.push(next);
          cursor.push(0);
          index[next] = low[next] = ++counter;
          stack.push(next);
          onStack[next] = 1;
        } else if (onStack[next] === 1 && index[next]! < low[node]!) low[node] = index[next]!;
        continue;
      }
      path.pop();
      cursor.pop();
      if (path.length > 0) {
        const parent = path[path.length - 1]!;
        if (low[node]! < low[parent]!) low[parent] = low[node]!;
      }
      if (low[node] !== index[node]) continue;
      if (stack[stack.length - 1] === node && !list.includes(node)) {
        stack.pop();
        onStack[node] = 0;
        found.push(node);
        continue;
      }
      const nodes: number[] = [];
      let member: number;
      do {
        member = stack.pop()!;
        onStack[member] = 0;
        nodes.push(member);
      } while (member !== node);
      found.push(nodes);
    }
  }
  return found;
}

/** Step 2: where blocks start, so that all scopes nest. */
function placeScopes(
  order: readonly number[],
  position: Int32Array,
  succs: readonly (readonly number[])[],
  loops: readonly Scope[],
  nodeCount: number,
): { scopes: Scope[]; depth: number } {
  // First forward predecessor of each position that does not simply fall through to it.
  const first = new Int32Array(order.length).fill(-1);
  for (let from = 0; from < order.length; from++) {
    const node = order[from]!;
    const fallsThrough = node < nodeCount ? from + 1 : -1;
    for (const next of succs[node]!) {
      const to = position[next]!;
      if (to > from && to !== fallsThrough && first[to] === -1) first[to] = from;
    }
  }
  const loopsByEnd = new Map<number, number[]>();
  for (const { start, end } of loops) {
    const starts = loopsByEnd.get(end);
    if (starts === undefined) loopsByEnd.set(end, [start]);
    else starts.push(start);
  }
  // Scopes that end at or before the position so far, as disjoint outermost intervals in ascending order.
  const outerStart: number[] = [];
  const outerEnd: number[] = [];
  const cover = (start: number, end: number) => {
    while (outerStart.length > 0 && outerStart[outerStart.length - 1]! >= start) {
      outerStart.pop();
      outerEnd.pop();
    }
    outerStart.push(start);
    outerEnd.push(end);
  };
  const scopes: Scope[] = [];
  for (let at = 0; at <= order.length; at++) {
    for (const start of loopsByEnd.get(at) ?? []) {
      scopes.push({ kind: 'loop', start, end: at });
      cover(start, at);
    }
    if (at === order.length || first[at] === -1) continue;
    let start = first[at]!;
    const i = lastAtOrBelow(outerStart, start);
    if (i >= 0 && outerStart[i]! < start && start < outerEnd[i]!) start = outerStart[i]!;
    scopes.push({ kind: 'block', start, end: at });
    cover(start, at);
  }
  // Stable: of two scopes with the same places the one found later (the block behind a loop) lies outside.
  const sorted = scopes.reverse().sort((a, b) => a.start - b.start || b.end - a.end);
  let depth = 0;
  const open: number[] = [];
  for (const scope of sorted) {
    while (open.length > 0 && open[open.length - 1]! <= scope.start) open.pop();
    open.push(scope.end);
    if (open.length > depth) depth = open.length;
  }
  return { scopes: sorted, depth };
}

/** Index of the last element that is <= value, -1 where there is none. */
function lastAtOrBelow(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (sorted[mid]! <= value) low = mid + 1;
    else high = mid;
  }
  return low - 1;
}
