/**
 * Flame graphs as one SVG file that needs nothing else: frames as wide as their share of the samples, a click zooms, Ctrl-F searches. Stacks
 * come folded, root first, as flame graph tools write them: `comm;main;read 42`. A few lines of script in the file do the zooming; texts are
 * escaped, and the script never makes markup from them.
 */

export interface FlameGraphOptions {
  readonly title: string;
  readonly subtitle?: string;
  /** What is counted. */
  readonly unit?: string;
  readonly width?: number;
}

interface Node {
  readonly name: string;
  value: number;
  readonly children: Map<string, Node>;
}

interface Box {
  readonly name: string;
  readonly value: number;
  readonly x: number;
  readonly depth: number;
}

const ROW = 17;
const FONT = 12;
/** Of a letter of that font, about. */
const LETTER = 7.1;
const MARGIN = 10;
const TOP = 56;
const BOTTOM = 28;
/** Narrower frames are left out. */
const NARROWEST = 0.1;
const MOST_DEPTH = 512;

/** `stacks`: frames from the root on, joined by `;`, with their number of samples. */
export function flameGraph(stacks: ReadonlyMap<string, number>, options: FlameGraphOptions): string {
  const { title, subtitle = '', unit = 'samples', width = 1200 } = options;
  const root: Node = { name: 'all', value: 0, children: new Map() };
  for (const [stack, count] of stacks) insert(root, stack.split(';'), count);
  const inner = width - 2 * MARGIN;
  const scale = root.value === 0 ? 0 : inner / root.value;
  const boxes = layOut(root, scale);
  const rows = boxes.reduce((most, { depth }) => Math.max(most, depth), 0) + 1;
  const height = TOP + rows * ROW + BOTTOM;
  const frames = boxes.map(({ name, value, x, depth }) => {
    const share = root.value === 0 ? 0 : (100 * value) / root.value;
    const wide = value * scale;
    const y = TOP + (rows - 1 - depth) * ROW;
    const left = MARGIN + x * scale;
    const text = `${name} (${value} ${unit}, ${share.toFixed(2)}%)`;
    return (
      `<g class="f" data-x="${x}" data-v="${value}"><title>${markup(text)}</title>` +
      `<rect x="${left.toFixed(1)}" y="${y}" width="${wide.toFixed(1)}" height="${ROW - 1}" fill="${colour(name)}" rx="2"/>` +
      `<text x="${(left + 3).toFixed(1)}" y="${y + FONT}">${markup(shortened(name, wide))}</text></g>`
    );
  });
  return `<?xml version="1.0" standalone="no"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" data-total="${root.value}" data-inner="${inner}">
<style>text{font:${FONT}px monospace;fill:#000;pointer-events:none}.f{cursor:pointer}.f:hover rect{stroke:#000;stroke-width:.6}#title{font-size:17px;text-anchor:middle}#sub,#found{fill:#555}.b{cursor:pointer;pointer-events:auto;fill:#03c}</style>
<rect width="100%" height="100%" fill="#f8f8f4"/>
<text id="title" x="${width / 2}" y="24">${markup(title)}</text>
<text id="sub" x="${MARGIN}" y="44">${markup(subtitle)}</text>
<text id="reset" class="b" x="${MARGIN}" y="24" visibility="hidden">Reset zoom</text>
<text id="search" class="b" x="${width - MARGIN - 60}" y="24">Search</text>
<text id="found" x="${width - MARGIN - 260}" y="44"></text>
<g id="frames">
${frames.join('\n')}
</g>
<text id="details" x="${MARGIN}" y="${height - 10}"> </text>
<script><![CDATA[
${SCRIPT}
]]></script>
</svg>
`;
}

function insert(root: Node, frames: readonly string[], count: number): void {
  let node = root;
  node.value += count;
  for (const name of frames.slice(0, MOST_DEPTH)) {
    let child = node.children.get(name);
    if (child === undefined) {
      child = { name, value: 0, children: new Map() };
      node.children.set(name, child);
    }
    child.value += count;
    node = child;
  }
}

function layOut(root: Node, scale: number): Box[] {
  const boxes: Box[] = [];
  const open: { node: Node; x: number; depth: number }[] = [{ node: root, x: 0, depth: 0 }];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const { node, x, depth } = at;
    if (depth > 0 && node.value * scale < NARROWEST) continue;
    boxes.push({ name: node.name, value: node.value, x, depth });
    let next = x;
    for (const child of [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      open.push({ node: child, x: next, depth: depth + 1 });
      next += child.value;
    }
  }
  return boxes.sort((a, b) => a.depth - b.depth || a.x - b.x);
}

/** The same name has the same colour: orange of the kernel (`_[k]`), green of made code (`_[j]`), else red to yellow. */
function colour(name: string): string {
  let hash = 0;
  for (const letter of name) hash = (Math.imul(hash, 31) + letter.charCodeAt(0)) >>> 0;
  const vary = (from: number, range: number, shift: number): number => from + ((hash >>> shift) % range);
  if (name.endsWith('_[k]')) return `rgb(${vary(235, 20, 0)},${vary(130, 60, 8)},${vary(10, 50, 16)})`;
  if (name.endsWith('_[j]')) return `rgb(${vary(60, 60, 0)},${vary(190, 50, 8)},${vary(60, 60, 16)})`;
  return `rgb(${vary(205, 50, 0)},${vary(60, 150, 8)},${vary(20, 50, 16)})`;
}

function shortened(name: string, width: number): string {
  const letters = Math.floor((width - 6) / LETTER);
  if (letters < 3) return '';
  return name.length <= letters ? name : `${name.slice(0, letters - 2)}..`;
}

/** XML has no words for most control characters. */
function markup(text: string): string {
  const names: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '?').replace(/[&<>"]/g, (c) => names[c]!);
}

/** Runs in the viewer: zoom by x and value of each frame, search by regular expression. */
const SCRIPT = `(function () {
  var svg = document.documentElement, total = +svg.dataset.total, inner = +svg.dataset.inner;
  var frames = Array.from(document.querySelectorAll('.f'));
  var byId = function (id) { return document.getElementById(id); };
  var name = function (g) { return g.querySelector('title').textContent; };
  function zoom(from, value) {
    var scale = inner / value;
    frames.forEach(function (g) {
      var x = +g.dataset.x, v = +g.dataset.v, rect = g.querySelector('rect'), text = g.querySelector('text');
      var left = Math.max(x, from), right = Math.min(x + v, from + value), wide = (right - left) * scale;
      var shown = right > left && wide >= 0.1;
      g.style.display = shown ? '' : 'none';
      if (!shown) return;
      rect.setAttribute('x', ${MARGIN} + (left - from) * scale);
      rect.setAttribute('width', wide);
      rect.style.opacity = x < from || x + v > from + value ? 0.5 : 1;
      text.setAttribute('x', ${MARGIN} + (left - from) * scale + 3);
      var label = name(g).replace(/ \\([0-9]+ [^(]*\\)$/, ''), letters = Math.floor((wide - 6) / ${LETTER});
      text.textContent = letters < 3 ? '' : label.length <= letters ? label : label.slice(0, letters - 2) + '..';
    });
    byId('reset').setAttribute('visibility', value === total ? 'hidden' : 'visible');
  }
  function search() {
    var term = prompt('Search for a regular expression'), found = 0, last = -1;
    var pattern = null;
    try { pattern = term ? new RegExp(term) : null; } catch (e) { pattern = null; }
    frames.forEach(function (g) {
      var hit = pattern !== null && pattern.test(name(g)), rect = g.querySelector('rect');
      if (rect.dataset.fill === undefined) rect.dataset.fill = rect.getAttribute('fill');
      rect.setAttribute('fill', hit ? 'rgb(230,0,230)' : rect.dataset.fill);
    });
    if (pattern) frames.filter(function (g) { return pattern.test(name(g)); })
      .sort(function (a, b) { return a.dataset.x - b.dataset.x || b.dataset.v - a.dataset.v; })
      .forEach(function (g) { if (+g.dataset.x >= last) { found += +g.dataset.v; last = +g.dataset.x + +g.dataset.v; } });
    byId('found').textContent = pattern ? 'Matched: ' + (100 * found / total).toFixed(2) + '%' : '';
  }
  frames.forEach(function (g) {
    g.addEventListener('click', function () { zoom(+g.dataset.x, +g.dataset.v); });
    g.addEventListener('mouseover', function () { byId('details').textContent = name(g); });
  });
  byId('reset').addEventListener('click', function () { zoom(0, total); });
  byId('search').addEventListener('click', search);
  window.addEventListener('keydown', function (e) {
    if (e.key === 'F3' || (e.ctrlKey && e.key === 'f')) { e.preventDefault(); search(); }
  });
})();`;
