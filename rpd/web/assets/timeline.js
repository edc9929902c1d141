// The timeline: a lane for each node, with its phases and, below them on the same clock, how busy its GPUs were.

const lanes = { height: 24, rows: [], drawn: "" };

function buildTimeline(section) {
  section.append(
    h("div", { class: "legend", id: "phases" }),
    h("div", { class: "axis", "aria-hidden": "true" }, h("div", { class: "who" }), h("div", { class: "clock", id: "clock" }), h("div", { class: "facts" })),
    h("div", { id: "lanes", class: "scroll", role: "list", "aria-label": "Timeline, one lane for each node", tabindex: "0", on: { scroll: debounced(placeLanes), keydown: laneKeys, pointermove: laneTip, pointerleave: hideTip } }, h("div", { class: "floor" })));
  listen("shown", drawTimeline);
  addEventListener("resize", debounced(() => { lanes.drawn = ""; drawTimeline(); }));
  addEventListener("beforeprint", () => { lanes.printing = true; lanes.drawn = ""; placeLanes(); });
  addEventListener("afterprint", () => { lanes.printing = false; lanes.drawn = ""; placeLanes(); });
}

function startOf(node) { return model.doc.runs[node.run].started ?? node.spans[0]?.[1] ?? 0; }

function drawTimeline() {
  const rows = model.shown.filter((node) => node.spans && node.spans.length);
  rows.sort((a, b) => a.run - b.run || a.spans[0][1] - b.spans[0][1]);
  lanes.rows = rows;
  lanes.hasStrips = rows.some((node) => node.strip);
  lanes.height = lanes.hasStrips ? 42 : 24;
  let length = 1;
  for (const node of rows) length = Math.max(length, node.spans[node.spans.length - 1][2] - startOf(node));
  lanes.length = length;
  document.getElementById("timeline").hidden = !rows.length;
  const lasted = {};
  for (const node of rows) for (const [phase, from, to] of node.spans) lasted[phase] = (lasted[phase] || 0) + to - from;
  refill(document.getElementById("phases"), PHASES.filter((phase) => lasted[phase]).map((phase) => h("span", {}, h("i", { class: `swatch ${phase}`, "aria-hidden": "true" }), `${phase} ${duration(lasted[phase])}`)),
    lanes.hasStrips ? [h("span", {}, h("i", { class: "swatch util", "aria-hidden": "true" }), "GPU busy"), h("span", {}, h("i", { class: "swatch mem", "aria-hidden": "true" }), "GPU memory")] : null);
  const most = Math.max(2, Math.floor((document.getElementById("clock").clientWidth || 600) / 90));
  refill(document.getElementById("clock"), timeTicks(length, most).map((at) => h("span", { style: { left: `${100 * at / length}%` } }, at ? duration(at).replace(/\.0s$/, "s").replace(/ 00[sm]$/, "") : "0")));
  lanes.drawn = "";
  placeLanes();
}

function placeLanes() {
  const box = document.getElementById("lanes"), floor = box.firstChild, count = lanes.rows.length;
  const isWhole = count * lanes.height <= 900;
  box.classList.toggle("tall", !isWhole && !lanes.printing);
  let first = 0, last = count;
  if (lanes.printing) last = Math.min(count, 400);
  else if (!isWhole) {
    first = Math.max(0, Math.floor(box.scrollTop / lanes.height) - 10);
    last = Math.min(count, first + Math.ceil((box.clientHeight || 600) / lanes.height) + 20);
  }
  if (lanes.drawn === `${first}-${last}`) return;
  lanes.drawn = `${first}-${last}`;
  floor.style.setProperty("height", `${(lanes.printing ? last : count) * lanes.height}px`);
  refill(floor, lanes.rows.slice(first, last).map((node, at) => lane(node, first + at)));
  markRows();
}

function lane(node, at) {
  const start = startOf(node), scale = 1000 / lanes.length;
  const bars = node.spans.map(([phase, from, to]) => s("rect", { class: `phase ${phase}`, x: (from - start) * scale, y: 3, width: Math.max((to - from) * scale, 0.8), height: 14 }));
  const idle = node.spans.filter(([phase]) => phase === "idle").map(([, from, to]) => s("path", { class: "hatch", d: hatch((from - start) * scale, (to - start) * scale) }));
  const facts = node.strip && isNumber(node.strip.mean_util) ? `${Math.round(node.strip.mean_util)} %` : "";
  return h("div", { class: "lane", role: "listitem", "data-key": node.key, "data-at": String(at), style: { top: `${at * lanes.height}px`, height: `${lanes.height}px` }, "aria-label": laneText(node), on: { pointerenter: () => hover(node), pointerleave: () => hover(null) } },
    h("button", { type: "button", class: "who name", title: node.id, on: { click: () => openNode(node.key) } }, h("span", { class: `sign ${node.outcome}`, "aria-hidden": "true" }, SIGNS[node.outcome] || "·"), " ", shortName(node)),
    s("svg", { class: "bar", viewBox: `0 0 1000 ${lanes.height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, bars, idle, node.strip ? stripOf(node.strip, start, scale) : null),
    h("span", { class: "facts n" }, facts));
}

function hatch(from, to) {
  let path = "";
  for (let x = from + 3; x < to; x += 6) path += `M${x} 3V17`;
  return path;
}

function stripOf(strip, start, scale) {
  const from = (strip.from - start) * scale, width = Math.max((strip.to - strip.from) * scale, 2) / strip.util.length;
  const base = 40, tall = 19;
  let area = "", line = "", pen = "M";
  strip.util.forEach((busy, at) => {
    const x = from + at * width;
    if (busy !== null) area += `M${x} ${base}V${base - tall * busy / 100}H${x + width}V${base}Z`;
    const used = strip.mem[at];
    if (used === null) pen = "M";
    else { line += `${pen}${x} ${base - tall * used / 100}H${x + width}`; pen = "L"; }
  });
  return [s("rect", { class: "ground", x: from, y: base - tall, width: width * strip.util.length, height: tall }), s("path", { class: "util", d: area }), s("path", { class: "mem", d: line })];
}

function laneText(node) {
  const lasted = {};
  for (const [phase, from, to] of node.spans) lasted[phase] = (lasted[phase] || 0) + to - from;
  const lines = PHASES.filter((phase) => lasted[phase]).map((phase) => `${phase} ${duration(lasted[phase])}`).join(", ");
  const strip = node.strip ? `; GPU busy ${number(node.strip.mean_util)} %, peak memory ${gigabytes(node.strip.peak_mb)}${node.strip.idle_seconds ? `, idle for ${duration(node.strip.idle_seconds)}` : ""}` : "";
  return `${node.label}: ${lines}${strip}`;
}

function laneTip(event) {
  const row = event.target.closest(".lane");
  const node = row && lanes.rows[Number(row.dataset.at)];
  if (!node) return hideTip();
  const box = row.querySelector("svg").getBoundingClientRect();
  const at = startOf(node) + (event.clientX - box.left) / box.width * lanes.length;
  const span = node.spans.find(([, from, to]) => at >= from && at <= to);
  const lines = [h("b", {}, node.label)];
  if (span) lines.push(h("div", {}, h("i", { class: `swatch ${span[0]}` }), `${span[0]} ${duration(span[2] - span[1])}`, h("span", { class: "dim" }, ` from ${duration(span[1] - startOf(node))}`)));
  if (node.strip && at >= node.strip.from && at <= node.strip.to) {
    const place = Math.min(node.strip.util.length - 1, Math.floor((at - node.strip.from) / (node.strip.to - node.strip.from || 1) * node.strip.util.length));
    lines.push(h("div", {}, `GPU busy ${number(node.strip.util[place])} %, memory ${number(node.strip.mem[place])} %`));
  }
  lines.push(h("div", { class: "dim" }, `${node.gpu || "no pod"}, ${money(node.usd)}`));
  showTip(event.clientX, event.clientY, lines);
}

function laneKeys(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = event.target.closest(".lane");
  if (!step) return;
  event.preventDefault();
  const at = row ? Math.min(lanes.rows.length - 1, Math.max(0, Number(row.dataset.at) + step)) : 0;
  const box = document.getElementById("lanes");
  const top = at * lanes.height;
  if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - lanes.height) { box.scrollTop = Math.max(0, top - box.clientHeight / 2); placeLanes(); }
  box.querySelector(`.lane[data-at="${at}"] button`)?.focus({ preventScroll: true });
  if (lanes.rows[at]) { hover(lanes.rows[at]); say(laneText(lanes.rows[at])); }
}

// --- what follows the mouse -------------------------------------------------------------------------------------------

function showTip(x, y, lines) {
  const tip = document.getElementById("tip");
  refill(tip, lines);
  tip.hidden = false;
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.setProperty("left", `${Math.max(4, x + 16 + width > innerWidth ? x - width - 12 : x + 16)}px`);
  tip.style.setProperty("top", `${Math.max(4, y + 16 + height > innerHeight ? y - height - 12 : y + 16)}px`);
}

function hideTip() { document.getElementById("tip").hidden = true; }
