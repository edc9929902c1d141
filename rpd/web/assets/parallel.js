// Parallel coordinates: an axis for each parameter that varies and each metric, a line for each node.

const MOST_AXES = 12;
const parallel = { by: "", axes: [] };

function buildParallel(section) {
  section.append(
    h("div", { class: "tools" }, h("label", {}, "shade by ", h("select", { id: "shade-by", on: { change: (event) => { parallel.by = event.target.value; drawParallel(); } } })),
      h("button", { type: "button", id: "unbrush", hidden: true, on: { click: () => { model.brushes.clear(); choose(); } } }, "Clear ranges"),
      h("span", { class: "dim" }, "Drag along an axis to choose a range, or type it into the filter above, such as loss<0.2.")),
    h("div", { class: "wide", id: "parallel-box" }));
  listen("shown", drawParallel);
  listen("hover", markParallel);
  addEventListener("resize", debounced(drawParallel));
}

function drawParallel() {
  const section = document.getElementById("parallel"), box = document.getElementById("parallel-box");
  const varying = (column) => { const values = new Set(); for (const node of model.nodes) { const value = axisValue(column, column.get(node)); if (isNumber(value)) values.add(value); if (values.size > 1) return true; } return false; };
  const parameters = model.columns.filter((column) => column.group === "parameters" && varying(column));
  const metrics = model.columns.filter((column) => column.group === "metrics" && column.numeric && varying(column));
  section.hidden = !parameters.length || parameters.length + metrics.length < 2 || model.nodes.length < 3;
  if (section.hidden) return;
  const axes = [...parameters, ...metrics].slice(0, MOST_AXES);
  const shader = document.getElementById("shade-by");
  if (!axes.some((column) => column.key === parallel.by)) parallel.by = (metrics.find((column) => model.best.get(column.key) && !/(time|seconds|bytes|usd|cost)$/i.test(column.title)) || metrics.find((column) => model.best.get(column.key)) || metrics[metrics.length - 1] || parameters[0]).key;
  refill(shader, axes.map((column) => h("option", { value: column.key }, column.title)));
  shader.value = parallel.by;
  document.getElementById("unbrush").hidden = !model.brushes.size;
  const W = Math.max(box.clientWidth || 700, axes.length * 86), H = 330, T = 46, B = 20, L = 64, R = 34;
  const scales = axes.map((column, at) => {
    let low = Infinity, high = -Infinity;
    for (const node of model.nodes) { const value = axisValue(column, column.get(node)); if (isNumber(value)) { low = Math.min(low, value); high = Math.max(high, value); } }
    const isLog = column.numeric && low > 0 && high / low >= 50;
    const map = isLog ? Math.log10 : (value) => value;
    const a = map(low), b = map(high);
    return { column, low, high, isLog, x: L + (W - L - R) * (axes.length > 1 ? at / (axes.length - 1) : 0), y: (value) => H - B - (H - T - B) * (b > a ? (map(value) - a) / (b - a) : 0.5), back: (y) => { const held = a + (b - a) * (H - B - y) / (H - T - B); return isLog ? 10 ** held : held; } };
  });
  parallel.scales = scales;
  parallel.tight = scales.length > 1 && scales[1].x - scales[0].x < 120;
  const shading = scales.find((scale) => scale.column.key === parallel.by);
  const paths = Array.from({ length: SHADES + 1 }, () => []);
  for (const node of model.shown) {
    const path = pathOf(node);
    if (!path) continue;
    const value = axisValue(shading.column, shading.column.get(node));
    const share = isNumber(value) ? (H - B - shading.y(value)) / (H - T - B) : null;
    paths[share === null ? SHADES : Math.min(SHADES - 1, Math.floor(share * SHADES))].push(path);
  }
  const svg = s("svg", { width: W, height: H, viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `Parallel coordinates of ${counted(model.shown.length, "node")}: ${axes.map((column) => column.title).join(", ")}` },
    paths.map((pieces, at) => pieces.length ? s("path", { class: `wire ${at === SHADES ? "none" : `s${at}`}${model.shown.length > 400 ? " thin" : ""}`, d: pieces.join("") }) : null),
    s("path", { class: "wire on", d: "" }),
    scales.map((scale, at) => axisOf(scale, at, H, T, B)));
  svg.addEventListener("pointermove", (event) => { if (!parallel.dragging) overWire(event, svg); });
  svg.addEventListener("pointerleave", () => { hideTip(); hover(null); });
  refill(box, svg);
  markParallel();
}

function pathOf(node) {
  let path = "", pen = "M", points = 0;
  for (const scale of parallel.scales) {
    const value = axisValue(scale.column, scale.column.get(node));
    if (!isNumber(value)) { pen = "M"; continue; }
    path += `${pen}${scale.x.toFixed(1)} ${scale.y(value).toFixed(1)}`;
    pen = "L";
    points++;
  }
  return points > 1 ? path : "";
}

function axisOf(scale, at, H, T, B) {
  const { column } = scale;
  const places = column.numeric ? null : axisPlaces.get(column.key);
  const marks = places && places.of === model.doc ? places.values.slice(0, 14).map((value, place) => [place, String(value)])
    : column.numeric ? markedValues(scale).map((value) => [value, column.show ? column.show(value) : number(Number(value.toPrecision(4)))]) : [[0, "false"], [1, "true"]];
  const range = model.brushes.get(column.key);
  const group = s("g", { class: "axis-group", transform: `translate(${scale.x} 0)` },
    s("text", { class: "title", y: parallel.tight && at % 2 ? 14 : 30, "text-anchor": "middle" }, cut(column.title, 16), s("title", {}, column.key)),
    s("line", { class: "stem", y1: T, y2: H - B }),
    apart(marks.filter(([value]) => value >= scale.low && value <= scale.high), scale).map(([value, text]) => [s("line", { class: "stem", x1: -3, x2: 3, y1: scale.y(value), y2: scale.y(value) }), s("text", { x: -7, y: scale.y(value) + 4, class: "halo", "text-anchor": "end" }, cut(text, 14))]),
    range ? s("rect", { class: "brush", x: -7, width: 14, y: scale.y(range[1]) - 2, height: Math.max(4, scale.y(range[0]) - scale.y(range[1]) + 4) }) : null);
  const hand = s("rect", { class: "hand", x: -14, width: 28, y: T - 4, height: H - T - B + 8 });
  hand.addEventListener("pointerdown", (event) => drag(event, scale, hand, group));
  group.append(hand);
  return group;
}

function markedValues(scale) {
  const values = distinct(scale.column, 9).filter(isNumber);
  if (values.length <= 8) return values;
  return scale.isLog ? logTicks(scale.low, scale.high) : ticks(scale.low, scale.high, 5);
}

// Those of the marks whose texts do not stand on one another.
function apart(marks, scale) {
  let last = Infinity;
  return [...marks].sort(([a], [b]) => a - b).filter(([value]) => { if (last - scale.y(value) < 12) return false; last = scale.y(value); return true; });
}

function drag(event, scale, hand, group) {
  event.preventDefault();
  hand.setPointerCapture(event.pointerId);
  const top = hand.ownerSVGElement.getBoundingClientRect().top, begun = event.clientY - top;
  const mark = s("rect", { class: "brush", x: -7, width: 14, y: begun, height: 1 });
  group.append(mark);
  parallel.dragging = true;
  const move = (moved) => { const y = moved.clientY - top; mark.setAttribute("y", Math.min(y, begun)); mark.setAttribute("height", Math.abs(y - begun)); };
  const end = (ended) => {
    hand.removeEventListener("pointermove", move);
    parallel.dragging = false;
    const y = ended.clientY - top;
    if (Math.abs(y - begun) < 4) model.brushes.delete(scale.column.key);
    else model.brushes.set(scale.column.key, [scale.back(Math.max(y, begun)), scale.back(Math.min(y, begun))]);
    choose();
  };
  hand.addEventListener("pointermove", move);
  hand.addEventListener("pointerup", end, { once: true });
}

function overWire(event, svg) {
  const box = svg.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
  const right = parallel.scales.findIndex((scale) => scale.x >= x);
  if (right <= 0) { hideTip(); return hover(null); }
  const a = parallel.scales[right - 1], b = parallel.scales[right], share = (x - a.x) / (b.x - a.x);
  let best = null, distance = 12;
  for (const node of model.shown) {
    const left = axisValue(a.column, a.column.get(node)), other = axisValue(b.column, b.column.get(node));
    if (!isNumber(left) || !isNumber(other)) continue;
    const far = Math.abs(a.y(left) + (b.y(other) - a.y(left)) * share - y);
    if (far < distance) { distance = far; best = node; }
  }
  hover(best);
  if (!best) return hideTip();
  showTip(event.clientX, event.clientY, [h("b", {}, shortName(best)), parallel.scales.map((scale) => h("div", { class: "reading" }, h("span", {}, scale.column.title), h("span", { class: "n" }, textOf(scale.column, scale.column.get(best) ?? null))))]);
}

function markParallel() {
  const wire = document.querySelector("#parallel-box .wire.on");
  if (wire) wire.setAttribute("d", model.hover && parallel.scales ? pathOf(model.hover) : "");
}
