// Draws the blocks that are pictures: curves and graphs, as SVG; texts go in as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
export const PALETTE = 10;

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// The width of a picture in its own units: on a phone they are as large as elsewhere.
const narrow = () => innerWidth < 600;
const width = () => (narrow() ? 340 : 540);

function shape(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return (value || 0).toLocaleString("en"); // −0 is 0
  const size = Math.abs(value);
  return size >= 0.001 && size < 1e6 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high * (1 + 1e-9) + 1e-12; k++) found.push(k * step);
  return found;
}

function decades(low, high) {
  const [first, last] = [Math.ceil(low), Math.floor(high)];
  const step = Math.max(1, Math.ceil((last - first) / 5));
  const found = [];
  for (let k = first; k <= last; k += step) found.push(k);
  return found.length > 1 ? found : [low, (low + high) / 2, high];
}

export function chart(block) {
  const [W, H, left, right, top, bottom] = [width(), 280, 68, 12, 12, 42];
  const scale = block.log ? (v) => (v > 0 ? Math.log10(v) : null) : (v) => v;
  const known = (v) => v !== null && v !== undefined && scale(v) !== null;
  const all = block.lines.flatMap((line) => line.values);
  if (block.band) all.push(...block.band.low, ...block.band.high);
  const values = all.filter(known).map(scale);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (!values.length) [low, high] = [0, 1];
  if (high - low < 1e-12) [low, high] = [low - 0.5, high + 0.5];
  const margin = 0.04 * (high - low);
  [low, high] = [low - margin, high + margin];
  const [first, last] = [block.x[0] ?? 0, block.x[block.x.length - 1] ?? 1];
  const x = (v) => left + ((v - first) / (last - first || 1)) * (W - left - right);
  const y = (v) => H - bottom - ((scale(v) - low) / (high - low)) * (H - top - bottom);
  const drawn = shape("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": block.title });
  const marks = block.log ? decades(low, high) : ticks(low, high, 5);
  for (const mark of marks) {
    const at = H - bottom - ((mark - low) / (high - low)) * (H - top - bottom);
    drawn.append(shape("line", { class: "grid", x1: left, x2: W - right, y1: at, y2: at }));
    const text = block.log ? number(10 ** mark) : number(mark);
    drawn.append(shape("text", { x: left - 6, y: at + 4, "text-anchor": "end" }, text));
  }
  const names = new Map(block.x.map((v, k) => [v, block.x_names[k]]));
  const wide = block.x_names.length > 0;
  const parts = narrow() ? 1 : 2; // names of times are long
  const across = wide ? [0, 1, 2].slice(0, parts + 1).map((k) => block.x[Math.round((k * (block.x.length - 1)) / parts)])
    : ticks(first, last, narrow() ? 4 : 6).filter((v) => Number.isInteger(v));
  across.forEach((v, k) => {
    const anchor = wide && k === 0 ? "start" : wide && k === parts ? "end" : "middle";
    const text = wide ? names.get(v) ?? "" : number(v);
    drawn.append(shape("text", { x: x(v), y: H - bottom + 16, "text-anchor": anchor }, text));
  });
  const middle = (left + W - right) / 2;
  drawn.append(shape("text", { x: middle, y: H - 6, "text-anchor": "middle" }, block.x_label));
  if (block.y_label) {
    const turn = `translate(12 ${(top + H - bottom) / 2}) rotate(-90)`;
    drawn.append(shape("text", { transform: turn, "text-anchor": "middle" }, block.y_label));
  }
  const legend = element("div", { class: "legend" });
  if (block.band) {
    const ends = block.x.map((v, k) => [v, block.band.low[k], block.band.high[k]])
      .filter(([, a, b]) => known(a) && known(b));
    const edge = [...ends.map(([v, , b]) => [v, b]), ...ends.reverse().map(([v, a]) => [v, a])];
    const points = edge.map(([v, w]) => `${x(v).toFixed(1)},${y(w).toFixed(1)}`).join(" ");
    drawn.append(shape("polygon", { class: "band", points }));
    legend.append(element("span", {}, element("i", { class: "box" }), block.band.name));
  }
  block.lines.forEach((line, k) => {
    const colour = `var(--c${k % PALETTE})`;
    const points = block.x.map((v, i) => [v, line.values[i]]);
    let path = "", open = false;
    for (const [v, w] of points) {
      if (!known(w)) { open = false; continue; }
      path += `${open ? "L" : "M"}${x(v).toFixed(1)} ${y(w).toFixed(1)}`;
      open = true;
    }
    // values that are missing between validations do not interrupt their line
    if (line.look === "dots") path = points.filter(([, w]) => known(w))
      .map(([v, w], i) => `${i ? "L" : "M"}${x(v).toFixed(1)} ${y(w).toFixed(1)}`).join("");
    const curve = shape("path", { class: `curve ${line.look}`, d: path });
    curve.style.stroke = colour;
    drawn.append(curve);
    if (line.look === "dots" || points.filter(([, w]) => known(w)).length < 2) {
      for (const [v, w] of points) {
        if (!known(w)) continue;
        const dot = shape("circle", { cx: x(v), cy: y(w), r: 2.6 });
        dot.style.fill = colour;
        drawn.append(dot);
      }
    }
    const mark = element("i", { class: line.look });
    mark.style.color = colour;
    legend.append(element("span", {}, mark, element("bdi", {}, line.name)));
  });
  return element("div", {}, drawn, legend);
}

export function graph(block, tip) {
  const [W, H, edge] = [width(), narrow() ? 340 : 420, 26];
  const [xs, ys] = [0, 1].map((k) => block.places.map((place) => place[k]));
  const range = (v) => [Math.min(...v), Math.max(...v)];
  const boxes = block.boxes; // of each node: left, top, right, bottom
  const [[x0, x1], [y0, y1]] = boxes.length
    ? [range(boxes.flatMap((b) => [b[0], b[2]])), range(boxes.flatMap((b) => [b[1], b[3]]))] : [range(xs), range(ys)];
  const across = (v) => edge + ((v - x0) / (x1 - x0 || 1)) * (W - 2 * edge);
  const up = (v) => H - edge - ((v - y0) / (y1 - y0 || 1)) * (H - 2 * edge);
  const x = (k) => across(xs[k]);
  const y = (k) => up(ys[k]);
  const drawn = shape("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": block.title });
  const link = (u, v, look, width) =>
    drawn.append(shape("line", { class: `link ${look}`, x1: x(u), y1: y(u), x2: x(v), y2: y(v),
      "stroke-width": width }));
  for (const [u, v, s] of block.edges) if (!s) link(u, v, "", 1);
  for (const [u, v, s] of block.edges) if (s) link(u, v, "strong", 1.5 + 4 * s);
  for (const [u, v] of block.dashed) link(u, v, "dashed", 2);
  const marked = new Set(block.marked);
  const many = block.names.length > 40;
  block.names.forEach((name, k) => {
    const group = block.groups[k] ?? -1;
    const look = `node${marked.has(k) ? " marked" : ""}`;
    const node = shape("circle", { class: look, cx: x(k), cy: y(k), r: many || boxes.length ? 5 : 8, tabindex: "-1" });
    const colour = group < 0 ? "var(--dim)" : `var(--c${group % PALETTE})`;
    node.style.fill = colour;
    if (boxes.length) {
      const [l, t, r, b] = boxes[k];
      const box = shape("rect", { class: "box", x: across(l), y: up(t), width: across(r) - across(l), height: up(b) - up(t) });
      box.style.stroke = colour;
      drawn.append(box);
    }
    tip(node, () => [document.createTextNode(block.hints[k] ?? name)]);
    drawn.append(node);
    if (!many || marked.has(k)) {
      const shown = [...name].length > 14 ? `${[...name].slice(0, 13).join("")}…` : name;
      const last = x(k) > 0.8 * W; // the name stays within the picture
      const place = boxes.length ? { x: across(boxes[k][0]), y: up(boxes[k][1]) - 4 }
        : { x: x(k) + (last ? -10 : 10), y: y(k) - 8, "text-anchor": last ? "end" : "start" };
      drawn.append(shape("text", place, shown));
    }
  });
  const legend = element("div", { class: "legend" });
  block.group_names.slice(0, 20).forEach((name, k) => {
    const mark = element("i", { class: "dots" });
    mark.style.color = `var(--c${k % PALETTE})`;
    legend.append(element("span", {}, mark, element("bdi", {}, name)));
  });
  return element("div", {}, drawn, legend);
}
