// History: for each study how its best value came about, over trials, dollars or time; a dot for each trial.

const MOST_STUDIES = 12;
const past = { over: "trials", log: new Set() };

function buildHistory(section) {
  section.append(
    h("div", { class: "tools" },
      h("label", {}, "over ", h("select", { id: "history-over", on: { change: (event) => { past.over = event.target.value; drawHistory(); } } }, ["trials", "dollars", "hours"].map((name) => h("option", { value: name }, name)))),
      h("span", { class: "legend" }, [["complete", "one trial"], ["best", "the best so far"], ["pruned", "pruned"]].map(([kind, text]) => h("span", {}, s("svg", { class: "sample", viewBox: "0 0 12 12", "aria-hidden": "true" }, s("circle", { class: `dot ${kind}`, cx: 6, cy: 6, r: 4 })), text)))),
    h("div", { class: "charts", id: "history-charts" }));
  listen("data", drawHistory);
  listen("hover", markHistory);
}

// The trials of a study that are over, in the order in which they ended, with what had been spent by then.
function trialsOf(study) {
  const byKey = new Map(model.nodes.map((node) => [node.key, node]));
  const over = study.nodes.map((key) => byKey.get(key)).filter((node) => node && isNumber(node.finished)).sort((one, two) => one.finished - two.finished);
  const first = Math.min(...over.map((node) => node.started ?? node.finished));
  let usd = 0, best = null;
  return over.map((node, at) => {
    usd += node.usd || 0;
    const own = node.metrics[study.metric];
    const value = own === undefined ? { usd: node.usd, seconds: node.seconds }[study.metric] : own;
    const kind = !isNumber(value) ? "none" : node.outcome === "pruned" ? "pruned" : node.outcome === "passed" || node.outcome === "xpassed" ? "complete" : "none";
    const isBest = kind === "complete" && (best === null || (study.down ? value > best : value < best));
    if (isBest) best = value;
    return { node, value, kind: isBest ? "best" : kind, best, trials: at + 1, dollars: usd, hours: (node.finished - first) / 3600 };
  });
}

function drawHistory() {
  const section = document.getElementById("history");
  const studies = (model.doc.studies || []).map((study) => [study, trialsOf(study)]).filter(([, trials]) => trials.length > 1 && trials.some((trial) => trial.best !== null));
  section.hidden = !studies.length;
  if (studies.length) refill(document.getElementById("history-charts"), studies.slice(0, MOST_STUDIES).map(([study, trials]) => historyOf(study, trials)));
}

function historyOf(study, trials) {
  const dots = trials.filter((trial) => trial.kind !== "none"), done = dots.filter((trial) => trial.best !== null);
  const of = model.doc.runs.length > 1 ? ` · ${model.doc.runs[study.run].id.slice(0, 15)}` : "";
  const name = study.id.slice(study.id.indexOf("::") + 2) + of, key = `${study.run} ${study.id}`;
  const found = done[done.length - 1];
  let low = Math.min(...dots.map((trial) => trial.value)), high = Math.max(...dots.map((trial) => trial.value));
  const positive = low > 0, isLog = positive && past.log.has(key);
  const figure = h("figure", { class: "chart" });
  const toggle = positive ? h("label", { class: "dim" }, h("input", { type: "checkbox", on: { change: (event) => { if (event.target.checked) past.log.add(key); else past.log.delete(key); figure.replaceWith(historyOf(study, trials)); } } }), " log") : null;
  if (toggle) toggle.firstChild.checked = isLog;
  figure.append(h("figcaption", {}, h("b", {}, `${study.metric} of ${name}`), h("span", { class: "dim" }, `${study.down ? "highest" : "lowest"} ${number(found.best)} after ${counted(trials.length, "trial")}, ${money(trials[trials.length - 1].dollars)}`), toggle));
  if (low === high) { low -= Math.abs(low) * 0.1 || 1; high += Math.abs(high) * 0.1 || 1; }
  const W = 520, H = 260, L = 58, R = 14, T = 12, B = 30, r = dots.length > 300 ? 2 : 3.5;
  const end = trials[trials.length - 1][past.over] || 1;
  const map = isLog ? Math.log10 : (value) => value;
  const a = map(low), b = map(high), pad = (b - a) * 0.05;
  const X = (value) => L + (W - L - R) * value / end;
  const Y = (value) => H - B - (H - T - B) * (map(value) - a + pad) / (b - a + 2 * pad);
  const steps = done.map((trial, at) => at ? `H${X(trial[past.over]).toFixed(1)}V${Y(trial.best).toFixed(1)}` : `M${X(trial[past.over]).toFixed(1)} ${Y(trial.best).toFixed(1)}`);
  const label = (at) => past.over === "dollars" ? `$${number(Number(at.toPrecision(3)))}` : past.over === "hours" ? duration(at * 3600) : number(at);
  const across = past.over === "trials" ? ticks(0, end, 6).filter(Number.isInteger) : ticks(0, end, 5);
  const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", tabindex: "0", "aria-label": `${study.metric} of ${name} over ${past.over}: ${counted(trials.length, "trial")}, the best ${number(found.best)} of ${lastBest(done).node.label}. Arrow keys read the trials out.` },
    (isLog ? logTicks(low, high) : ticks(low, high, 5)).map((at) => [s("line", { class: "rule", x1: L, x2: W - R, y1: Y(at), y2: Y(at) }), s("text", { x: L - 6, y: Y(at) + 4, "text-anchor": "end" }, number(Number(at.toPrecision(6))))]),
    across.map((at) => s("text", { x: X(at), y: H - 10, "text-anchor": "middle" }, label(at))),
    s("path", { class: "line best", d: steps.join("") + `H${(W - R).toFixed(1)}` }),
    dots.map((trial) => s("circle", { class: `dot ${trial.kind}`, "data-key": trial.node.key, cx: X(trial[past.over]).toFixed(1), cy: Y(trial.value).toFixed(1), r })));
  figure.append(svg);
  let place = -1;
  const read = (trial, clientX, clientY) => {
    hover(trial.node);
    const rows = [[study.metric, number(trial.value)], ["best so far", trial.best === null ? "none" : number(trial.best)], ["after", `${counted(trial.trials, "trial")}, ${money(trial.dollars)}`], ...Object.entries(trial.node.params).slice(0, 8).map(([title, value]) => [title, cut(isNumber(value) ? number(value) : String(value), 40)])];
    showTip(clientX, clientY, [h("b", {}, shortName(trial.node)), trial.kind === "pruned" ? " pruned" : null, rows.map(([title, text]) => h("div", { class: "reading" }, h("span", {}, title), h("span", { class: "n" }, text)))]);
  };
  const closest = (event) => {
    const box = svg.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * W, y = (event.clientY - box.top) / box.height * H;
    const far = (trial) => Math.hypot(X(trial[past.over]) - x, Y(trial.value) - y);
    return dots.reduce((one, two) => far(two) < far(one) ? two : one);
  };
  const leave = () => { hideTip(); hover(null); };
  svg.addEventListener("pointermove", (event) => read(closest(event), event.clientX, event.clientY));
  svg.addEventListener("click", (event) => openNode(closest(event).node.key));
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && place >= 0) return openNode(dots[place].node.key);
    const way = { ArrowRight: 1, ArrowLeft: -1, Home: -dots.length, End: dots.length }[event.key];
    if (way === undefined) return;
    event.preventDefault();
    place = Math.min(dots.length - 1, Math.max(0, place + way));
    const trial = dots[place], box = svg.getBoundingClientRect();
    read(trial, box.left + box.width * X(trial[past.over]) / W, box.top + box.height * Y(trial.value) / H);
    say(`${shortName(trial.node)}: ${number(trial.value)}${trial.kind === "pruned" ? ", pruned" : trial.kind === "best" ? ", the best so far" : ""}`);
  });
  return figure;
}

function lastBest(done) { return [...done].reverse().find((trial) => trial.kind === "best"); }

function markHistory() {
  for (const dot of document.querySelectorAll("#history-charts circle")) dot.classList.toggle("on", Boolean(model.hover) && dot.dataset.key === model.hover.key);
}
