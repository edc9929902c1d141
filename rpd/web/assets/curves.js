// Curves: a chart for each series, a line for each node, and a legend that follows the mouse or the arrow keys.

const MOST_LINES = 400;
const MOST_CHARTS = 40;
const charts = { width: 520, smooth: 0, log: new Set() };

function buildCurves(section) {
  section.append(
    h("div", { class: "tools" },
      h("label", {}, "colour by ", h("select", { id: "colour-by", on: { change: (event) => { model.colourBy = event.target.value; choose(); } } })),
      h("label", {}, "smooth ", h("input", { type: "range", min: "0", max: "95", step: "5", value: "0", id: "smooth", "aria-label": "smooth the curves, percent", on: { input: (event) => { charts.smooth = Number(event.target.value) / 100; drawCurves(); } } })),
      h("span", { class: "legend", id: "curve-legend" })),
    h("div", { class: "charts", id: "curve-charts" }),
    h("p", { class: "dim", id: "curve-note" }));
  listen("data", () => {
    const columns = model.columns.filter((column) => ["parameters"].includes(column.group) || ["run", "gpu", "outcome"].includes(column.key));
    refill(document.getElementById("colour-by"), h("option", { value: "" }, "nothing"), columns.map((column) => h("option", { value: column.key }, column.title)));
    document.getElementById("colour-by").value = model.colourBy;
  });
  listen("shown", drawCurves);
  listen("hover", markCurves);
  addEventListener("resize", debounced(drawCurves));
}

function drawCurves() {
  const section = document.getElementById("curves");
  const names = new Set();
  for (const node of model.nodes) if (node.series) for (const name of Object.keys(node.series)) names.add(name);
  section.hidden = !names.size;
  if (!names.size) return;
  const box = document.getElementById("curve-charts");
  const across = Math.max(1, Math.min(names.size, Math.floor((box.clientWidth + 14) / 380)));
  charts.width = Math.max(280, Math.min(720, Math.floor((box.clientWidth || 700) / across - 36)));
  const shown = [...names].slice(0, MOST_CHARTS);
  refill(box, shown.map((name) => chartOf(name)));
  refill(document.getElementById("curve-legend"), colourLegend().map(([text, colour]) => h("span", {}, h("i", { class: `swatch ${colour}`, "aria-hidden": "true" }), text)), model.shown.some((node) => node.series && !node.ok) ? h("span", {}, "dashed: did not pass") : null);
  document.getElementById("curve-note").textContent = names.size > shown.length ? `${names.size - shown.length} more series are in the files of the nodes.` : "";
}

function smoothed(values, weight) {
  if (!weight) return values;
  let last = values[0];
  return values.map((value) => { last = weight * last + (1 - weight) * value; return last; });
}

function chartOf(name) {
  const all = model.shown.filter((node) => node.series && node.series[name] && node.series[name][0].length);
  const nodes = all.slice(0, MOST_LINES);
  const lines = nodes.map((node) => ({ node, x: node.series[name][0], y: smoothed(node.series[name][1], charts.smooth) }));
  let low = Infinity, high = -Infinity, first = Infinity, last = -Infinity, positive = true;
  for (const line of lines) {
    for (const value of line.y) { low = Math.min(low, value); high = Math.max(high, value); if (value <= 0) positive = false; }
    first = Math.min(first, line.x[0]); last = Math.max(last, line.x[line.x.length - 1]);
  }
  const isLog = charts.log.has(name) && positive && lines.length;
  const figure = h("figure", { class: "chart" });
  const toggle = positive && lines.length ? h("label", { class: "dim" }, h("input", { type: "checkbox", on: { change: (event) => { if (event.target.checked) charts.log.add(name); else charts.log.delete(name); figure.replaceWith(chartOf(name)); } } }), " log") : null;
  if (toggle) toggle.firstChild.checked = isLog;
  figure.append(h("figcaption", {}, h("b", {}, name), h("span", { class: "dim" }, all.length > nodes.length ? ` first ${nodes.length} of ${all.length} nodes: filter to see others` : ""), toggle));
  if (!lines.length) { figure.append(h("p", { class: "dim" }, "No shown node has this series.")); return figure; }
  if (low === high) { low -= Math.abs(low) * 0.1 || 1; high += Math.abs(high) * 0.1 || 1; }
  if (first === last) { first -= 1; last += 1; }
  const W = charts.width, H = Math.round(Math.min(300, Math.max(200, W * 0.5))), L = 58, R = 12, T = 10, B = 30;
  const map = isLog ? Math.log10 : (value) => value;
  const a = map(low), b = map(high), pad = (b - a) * 0.04 || 0.5;
  const X = (value) => L + (W - L - R) * (value - first) / (last - first);
  const Y = (value) => H - B - (H - T - B) * (map(value) - a + pad) / (b - a + 2 * pad);
  const yTicks = isLog ? logTicks(low, high) : ticks(low, high, 5);
  const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", tabindex: "0", "aria-label": `${name}: ${counted(lines.length, "curve")}, from step ${number(first)} to ${number(last)}, values from ${number(low)} to ${number(high)}. Arrow keys read it out.` },
    yTicks.map((at) => [s("line", { class: "rule", x1: L, x2: W - R, y1: Y(at), y2: Y(at) }), s("text", { x: L - 6, y: Y(at) + 4, "text-anchor": "end" }, number(Number(at.toPrecision(6))))]),
    ticks(first, last, 6).map((at) => s("text", { x: X(at), y: H - 10, "text-anchor": "middle" }, number(Number(at.toPrecision(8))))),
    lines.map((line) => s("path", { class: `line ${colourOf(line.node)}${line.node.ok ? "" : " dash"}`, "data-key": line.node.key, d: line.x.map((x, at) => `${at ? "L" : "M"}${X(x).toFixed(1)} ${Y(line.y[at]).toFixed(1)}`).join("") })));
  const cursor = s("line", { class: "cursor", y1: T, y2: H - B, visibility: "hidden" });
  svg.append(cursor);
  figure.append(svg);
  let place = null;
  const read = (x, y, clientX, clientY) => {
    const step = first + (last - first) * Math.min(1, Math.max(0, x));
    const nearby = lines.map((line) => { const at = nearest(line.x, step); return { ...line, at, step: line.x[at], value: line.y[at] }; });
    const target = y === null ? null : y;
    nearby.sort((one, two) => target === null ? one.value - two.value : Math.abs(Y(one.value) - target) - Math.abs(Y(two.value) - target));
    const most = nearby.slice(0, 10);
    cursor.setAttribute("x1", X(step)); cursor.setAttribute("x2", X(step)); cursor.setAttribute("visibility", "visible");
    hover(most[0].node);
    showTip(clientX, clientY, [h("b", {}, `${name} at step ${number(most[0].step)}`), most.map((each) => h("div", { class: "reading" }, h("i", { class: `swatch ${colourOf(each.node)}` }), h("span", {}, shortName(each.node)), h("span", { class: "n" }, number(each.value)))), nearby.length > most.length ? h("div", { class: "dim" }, `and ${nearby.length - most.length} more`) : null]);
    return most;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    read(((event.clientX - box.left) / box.width * W - L) / (W - L - R), (event.clientY - box.top) / box.height * H, event.clientX, event.clientY);
  });
  const leave = () => { cursor.setAttribute("visibility", "hidden"); hideTip(); hover(null); };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 0.05, ArrowLeft: -0.05, Home: -2, End: 2 }[event.key];
    if (way === undefined) return;
    event.preventDefault();
    place = Math.min(1, Math.max(0, (place ?? (way > 0 ? -0.05 : 1.05)) + way));
    const box = svg.getBoundingClientRect();
    const most = read(place, null, box.left + box.width * (L + (W - L - R) * place) / W, box.top + 20);
    say(`step ${number(most[0].step)}: ${most.slice(0, 5).map((each) => `${shortName(each.node)} ${number(each.value)}`).join(", ")}`);
  });
  return figure;
}

function shortName(node) {
  return model.doc.runs.length > 1 ? `${node.label} · ${model.doc.runs[node.run].id.slice(0, 15)}` : node.label;
}

function nearest(steps, wanted) {
  let low = 0, high = steps.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < wanted) low = middle + 1; else high = middle;
  }
  return low > 0 && Math.abs(steps[low - 1] - wanted) < Math.abs(steps[low] - wanted) ? low - 1 : low;
}

function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) for (const n of [1, 2, 5]) { const at = n * 10 ** power; if (at >= low && at <= high) found.push(at); }
  return found.length > 7 ? found.filter((at) => Math.abs(Math.log10(at) % 1) < 1e-9) : found.length ? found : [low, high];
}

function markCurves() {
  const key = model.hover && model.hover.key;
  for (const svg of document.querySelectorAll("#curve-charts svg")) {
    svg.classList.toggle("dimmed", Boolean(key) && [...svg.querySelectorAll("path.line")].some((line) => line.dataset.key === key));
    for (const line of svg.querySelectorAll("path.line.on")) line.classList.remove("on");
    if (key) for (const line of svg.querySelectorAll(`path.line[data-key="${CSS.escape(key)}"]`)) line.classList.add("on");
  }
}
