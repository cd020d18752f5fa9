// The page of a run: its controls, and the blocks of an answer as they come in.

import { chart, element, graph, number } from "./charts.js";

const tipBox = document.getElementById("tip");
const answer = document.getElementById("answer");
const status_ = document.getElementById("status");
let running = null;

// ---- what is shown when a thing is pointed at, tapped or focused

function tip(target, content) {
  const show = (event) => {
    tipBox.replaceChildren(...content());
    tipBox.hidden = false;
    const box = tipBox.getBoundingClientRect();
    const at = target.getBoundingClientRect();
    const x = Math.min(event.clientX ?? at.left, innerWidth - box.width - 8);
    const below = at.bottom + 8;
    const y = below + box.height > innerHeight ? at.top - box.height - 8 : below;
    tipBox.style.left = `${Math.max(8, x)}px`;
    tipBox.style.top = `${Math.max(8, y)}px`;
  };
  target.addEventListener("mouseenter", show);
  target.addEventListener("click", show);
  target.addEventListener("focus", show);
  for (const leave of ["mouseleave", "blur"]) target.addEventListener(leave, () => (tipBox.hidden = true));
}
addEventListener("scroll", () => (tipBox.hidden = true), true);
addEventListener("keydown", (event) => { if (event.key === "Escape") tipBox.hidden = true; });

// ---- texts: a span for every symbol, a row for every channel of the state

function visible(text) {
  return text === "" ? "∅" : text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ +$/, (s) => "␣".repeat(s.length));
}

const percent = (p) => (p === null || p === undefined ? "" : `${(100 * p).toFixed(p < 0.1 ? 1 : 0)} %`);

class Written {
  constructor(title, cells) {
    this.symbols = [];
    this.spans = [];
    this.cells = cells;
    this.chosen = -1;
    this.pre = element("p", { class: "written", tabIndex: 0 });
    this.pre.setAttribute("aria-label", `${title} text`);
    this.canvas = element("canvas", { height: cells * 4 });
    this.canvas.setAttribute("aria-label", "states: a row for every channel, a column for every symbol");
    const names = ["probability", ...Array.from({ length: cells }, (_, k) => `channel ${k + 1} of the state`)];
    this.choice = element("select", {}, ...names.map((n, k) => element("option", { value: String(k - 1) }, n)));
    this.choice.addEventListener("change", () => this.colourBy(Number(this.choice.value)));
    this.canvas.addEventListener("click", (event) => {
      const row = Math.floor((event.offsetY / this.canvas.clientHeight) * cells);
      this.choice.value = String(row);
      this.colourBy(row);
    });
    this.canvas.addEventListener("mousemove", (event) => this.point(Math.floor(event.offsetX / 4)));
    this.canvas.addEventListener("mouseleave", () => this.point(-1));
    this.root = element("section", { class: "block" }, element("h3", {}, title), this.pre,
      element("div", { class: "strip" },
        element("label", {}, element("span", { class: "name" }, "Colour by"), this.choice),
        element("div", { class: "scroll" }, this.canvas)));
  }

  point(k) {
    this.spans[this.at]?.classList.remove("at");
    this.at = k;
    this.spans[k]?.classList.add("at");
  }

  add(symbols) {
    for (const symbol of symbols) {
      const span = element("span", { class: symbol.given ? "given" : "" }, symbol.text);
      tip(span, () => this.about(symbol));
      this.colour(span, symbol);
      this.symbols.push(symbol);
      this.spans.push(span);
      this.pre.append(span);
    }
    this.draw();
    this.pre.scrollTop = this.pre.scrollHeight;
  }

  about(symbol) {
    const row = (cells, kind) => element("tr", {}, ...cells.map((c) => element(kind, {}, c)));
    const drawn = !symbol.given;
    const rows = symbol.likeliest.map(([text, p, q]) =>
      row([visible(text), percent(p), ...(drawn ? [percent(q)] : [])], "td"));
    const head = row(["symbol", "model", ...(drawn ? ["drawn from"] : [])], "th");
    return [element("strong", {}, `${visible(symbol.text)}  ${percent(symbol.p)}`),
      element("table", {}, head, ...rows)];
  }

  colour(span, symbol) {
    if (this.chosen < 0) {
      const surprise = symbol.p === null ? 0 : Math.min(1, -Math.log2(Math.max(symbol.p, 1e-6)) / 8);
      span.style.background = `rgba(197, 58, 74, ${(0.55 * surprise).toFixed(3)})`;
    } else {
      const value = symbol.cells[this.chosen] / 100;
      const colour = value < 0 ? "197, 58, 74" : "var(--cell)";
      span.style.background = `rgba(${colour}, ${(0.75 * Math.abs(value)).toFixed(3)})`;
    }
  }

  colourBy(channel) {
    this.chosen = channel;
    this.symbols.forEach((symbol, k) => this.colour(this.spans[k], symbol));
    this.draw();
  }

  draw() {
    const [n, side] = [this.symbols.length, 4];
    this.canvas.width = Math.max(1, n * side);
    const context = this.canvas.getContext("2d");
    this.symbols.forEach((symbol, column) => symbol.cells.forEach((value, row) => {
      context.fillStyle = value < 0 ? `rgba(197, 58, 74, ${-value / 100})` : `rgba(40, 140, 190, ${value / 100})`;
      context.fillRect(column * side, row * side, side, side);
    }));
    if (this.chosen >= 0) {
      context.strokeStyle = "#888";
      context.strokeRect(0.5, this.chosen * side + 0.5, n * side - 1, side - 1);
    }
  }
}

// ---- blocks, by their kind

function tableOf(block) {
  const numeric = block.columns.map((_, k) => block.rows.every((row) => row[k] === null || typeof row[k] === "number"));
  const cell = (kind, value, k) => element(kind, { class: numeric[k] ? "number" : "" },
    typeof value === "number" || value === null ? number(value) : element("bdi", {}, value));
  const head = element("tr", {}, ...block.columns.map((name, k) => cell("th", name, k)));
  const rows = block.rows.map((row) => element("tr", {}, ...row.map((value, k) => cell("td", value, k))));
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

const drawings = { chart, graph: (block) => graph(block, tip), table: tableOf };

function place(parent, block) {
  const old = [...parent.children].find((child) => child.dataset.to === block.to);
  let made = old;
  if (block.kind === "symbols") {
    if (block.start) {
      const text = new Written(block.title, block.cells);
      made = text.root;
      made.written = text;
    }
    made.written.add(block.symbols);
  } else if (block.kind === "note") {
    made = element("p", { class: "block note" }, block.text);
  } else {
    made = element("section", { class: "block" }, element("h3", {}, element("bdi", {}, block.title)), drawings[block.kind](block));
  }
  made.dataset.to = block.to;
  if (old && old !== made) old.replaceWith(made);
  else if (!old) parent.append(made);
}

// ---- controls

function control(spec) {
  const name = element("span", { class: "name" }, element("span", {}, spec.label));
  const parts = [name];
  let field, read;
  const id = `control-${spec.name}`;
  if (spec.kind === "number") {
    const text = (value) => spec.shown[value - spec.least] ?? String(value);
    const shown = element("output", {}, text(spec.default));
    field = element("input", { type: "range", min: spec.least, max: spec.most, step: spec.step });
    field.value = spec.default;
    field.addEventListener("input", () => (shown.value = text(Number(field.value))));
    name.append(shown);
    read = () => Number(field.value);
  } else if (spec.kind === "lines") {
    field = element("textarea", { maxLength: spec.most, value: spec.default, dir: "auto", spellcheck: false });
    read = () => field.value;
  } else if (spec.kind === "text") {
    field = element("input", { type: "text", maxLength: spec.most, value: spec.default, dir: "auto", autocomplete: "off" });
    if (spec.choices.length) {
      field.setAttribute("list", `${id}-list`);
      parts.push(element("datalist", { id: `${id}-list` }, ...spec.choices.map((c, k) => element("option", { value: c, label: spec.shown[k] }))));
    }
    read = () => field.value;
  } else {
    const several = spec.kind === "several";
    const chosen = several ? spec.default : [spec.default];
    field = element("select", { multiple: several, size: several ? Math.min(6, spec.choices.length) : 0 },
      ...spec.choices.map((c, k) => element("option", { value: c, selected: chosen.includes(c) }, spec.shown[k])));
    read = () => (several ? [...field.selectedOptions].map((o) => o.value) : field.value);
  }
  field.id = id;
  parts.push(field);
  if (spec.help) parts.push(element("span", { class: "help" }, spec.help));
  const wide = spec.kind === "lines";
  return { label: element("label", { class: wide ? "wide" : "", htmlFor: id }, ...parts), read, name: spec.name };
}

function build(page) {
  document.getElementById("try").hidden = false;
  document.getElementById("about").textContent = page.about;
  const form = document.getElementById("controls");
  form.hidden = page.controls.length === 0;
  if (form.hidden) document.getElementById("try-title").textContent = "The model";
  const controls = page.controls.map(control);
  const go = element("button", { type: "submit" }, page.action);
  const stop = element("button", { type: "button", class: "quiet", disabled: true }, "Stop");
  form.append(...controls.map((c) => c.label), element("div", { class: "buttons" }, go, stop));
  stop.addEventListener("click", () => running?.abort());
  const ask = async () => {
    running?.abort();
    const own = (running = new AbortController());
    stop.disabled = false;
    status_.className = "";
    status_.textContent = "Working …";
    answer.setAttribute("aria-busy", "true");
    try {
      const values = Object.fromEntries(controls.map((c) => [c.name, c.read()]));
      const found = await receive(values, own.signal);
      if (own === running) status_.textContent = found;
    } catch (error) {
      if (own !== running) return;
      const stopped = error.name === "AbortError";
      status_.className = stopped ? "" : "problem";
      status_.textContent = stopped ? "Stopped." : error.message;
    }
    if (own === running) {
      stop.disabled = true;
      answer.removeAttribute("aria-busy");
    }
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  ask();
}

async function receive(values, signal) {
  const response = await fetch("answer", { method: "POST", signal, body: JSON.stringify(values),
    headers: { "content-type": "application/json" } });
  if (!response.ok) throw new Error((await response.json()).error);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const seen = new Set();
  let rest = "";
  const take = (line) => {
    const block = JSON.parse(line);
    if (block.kind === "error") throw new Error(block.text);
    seen.add(block.to);
    place(answer, block);
  };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    lines.forEach(take);
  }
  for (const child of [...answer.children]) if (!seen.has(child.dataset.to)) child.remove();
  return "";
}

// ---- the run

async function begin() {
  const run = await (await fetch("run")).json();
  document.title = `${run.title} · Plait`;
  document.querySelector("#title bdi").textContent = run.title;
  document.getElementById("options").append(...[["run folder", run.folder], ...run.options].flatMap(
    ([name, value]) => [element("dt", {}, name), element("dd", {}, element("bdi", {}, String(value)))]));
  const overview = document.getElementById("overview");
  run.blocks.forEach((block) => place(overview, block));
  run.pictures.forEach((name, k) => overview.append(element("figure", {},
    element("img", { src: `picture/${k}`, alt: name, loading: "lazy" }), element("figcaption", {}, name))));
  if (run.page) build(run.page);
  if (run.reason) {
    const reason = document.getElementById("reason");
    reason.textContent = run.reason;
    reason.hidden = false;
  }
}

begin().catch((error) => {
  status_.className = "problem";
  document.getElementById("try").hidden = false;
  status_.textContent = `The server does not answer: ${error.message}`;
});
