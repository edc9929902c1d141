// What the nodes cost, why some did not pass, what they brought, and the whole story of one.

function buildCost(section) {
  section.append(h("div", { class: "columns" }, h("div", { id: "cost-phases" }), h("div", { id: "cost-nodes" })));
  listen("shown", drawCost);
}

// Dollars by phase: what a node cost, divided by how long its pod was in each.
function costByPhase(node) {
  const lasted = {};
  let all = 0;
  for (const [phase, from, to] of node.spans || []) if (phase !== "waiting") { lasted[phase] = (lasted[phase] || 0) + to - from; all += to - from; }
  const shares = {};
  for (const [phase, seconds] of Object.entries(lasted)) shares[phase] = [all ? node.usd * seconds / all : 0, seconds];
  return shares;
}

function drawCost() {
  const nodes = model.shown.filter((node) => node.usd > 0);
  document.getElementById("cost").hidden = !nodes.length;
  if (!nodes.length) return;
  const phases = {};
  let known = 0;
  for (const node of nodes) for (const [phase, [usd, seconds]] of Object.entries(costByPhase(node))) {
    const sums = phases[phase] = phases[phase] || [0, 0];
    sums[0] += usd; sums[1] += seconds; known += usd;
  }
  const spent = total(nodes.map((node) => node.usd));
  if (spent - known > 1e-9) phases["unknown"] = [spent - known, null];
  const gpuIdle = total(nodes.map((node) => node.strip && node.seconds ? node.usd * Math.min(1, node.strip.idle_seconds / node.seconds) : 0));
  const rows = [...PHASES, "unknown"].filter((phase) => phases[phase]);
  const exact = (usd) => usd >= 1 ? `$${usd.toFixed(2)}` : `$${usd.toPrecision(2)}`;
  refill(document.getElementById("cost-phases"), h("h3", {}, "By phase"),
    h("div", { class: "stack", "aria-hidden": "true" }, rows.map((phase) => h("i", { class: `swatch ${phase.replace(" ", "-")}`, style: { width: `${100 * phases[phase][0] / spent}%` } }))),
    h("table", { class: "plain" }, h("thead", {}, h("tr", {}, ["phase", "cost", "share", "time"].map((title, at) => h("th", { scope: "col", class: at ? "n" : null }, title)))),
      h("tbody", {}, rows.map((phase) => h("tr", {}, h("th", { scope: "row" }, h("i", { class: `swatch ${phase.replace(" ", "-")}`, "aria-hidden": "true" }), phase), h("td", { class: "n" }, exact(phases[phase][0])), h("td", { class: "n" }, `${Math.round(100 * phases[phase][0] / spent)} %`), h("td", { class: "n" }, duration(phases[phase][1]))))),
      h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "all"), h("td", { class: "n" }, exact(spent)), h("td", {}), h("td", { class: "n" }, duration(total(rows.map((phase) => phases[phase][1]))))))),
    gpuIdle > 0 ? h("p", { class: "dim" }, `Of this, ${exact(gpuIdle)} while GPUs were idle, by their telemetry.`) : null,
    h("p", { class: "dim" }, "Computed from rates; what you pay is on RunPod's bill."));
  const most = [...nodes].sort((a, b) => b.usd - a.usd).slice(0, 12);
  refill(document.getElementById("cost-nodes"), h("h3", {}, nodes.length > most.length ? `The ${most.length} most expensive of ${counted(nodes.length, "node")}` : "By node"),
    h("ol", { class: "bars" }, most.map((node) => h("li", {}, h("button", { type: "button", class: "name", on: { click: () => openNode(node.key) } }, shortName(node)),
      h("div", { class: "stack", "aria-hidden": "true" }, PHASES.filter((phase) => costByPhase(node)[phase]).map((phase) => h("i", { class: `swatch ${phase}`, style: { width: `${100 * costByPhase(node)[phase][0] / most[0].usd}%` } }))), h("span", { class: "n" }, exact(node.usd))))));
}

// --- failures ---------------------------------------------------------------------------------------------------------

const AT_ONCE = 20;

function buildFailures(section) {
  section.append(h("div", { id: "failure-list" }));
  listen("shown", drawFailures);
}

function drawFailures() {
  const failed = model.shown.filter((node) => node.failure);
  document.getElementById("failures").hidden = !failed.length;
  const groups = new Map();
  for (const node of failed) {
    const key = JSON.stringify([node.cause, node.reason, node.failure.place, node.failure.source]);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(node);
  }
  const alike = [...groups.values()].sort((a, b) => b.length - a.length), box = document.getElementById("failure-list");
  refill(box, alike.slice(0, AT_ONCE).map(failureCard), alike.length > AT_ONCE ? h("button", { type: "button", on: { click: (event) => { event.target.remove(); add(box, [alike.slice(AT_ONCE, 500).map(failureCard)]); } } }, `Show ${Math.min(alike.length, 500) - AT_ONCE} more`) : null);
}

function failureCard(nodes) {
  const node = nodes[0], many = nodes.length > 1;
  return h("article", { class: "failure" },
    h("h3", {}, outcomeMark(node), " ", many ? counted(nodes.length, "node") : node.label),
    node.reason ? h("p", { class: "reason" }, node.reason) : null,
    many ? h("p", { class: "names" }, nodes.slice(0, 12).map((each) => h("button", { type: "button", class: "name", on: { click: () => openNode(each.key) }, title: each.id }, each.label)), nodes.length > 12 ? h("span", { class: "dim" }, `and ${nodes.length - 12} more`) : null) : null,
    failureBody(node, many));
}

function failureBody(node, isFirst) {
  const failure = node.failure;
  return [
    failure.place ? h("p", { class: "place" }, h("code", {}, failure.place), failure.source ? h("code", { class: "source" }, failure.source) : null) : null,
    failure.traceback && failure.traceback.trim() !== `${failure.place}\n${failure.source}` ? h("details", {}, h("summary", {}, "Frames"), h("pre", { tabindex: "0" }, failure.traceback)) : null,
    failure.hint ? h("p", {}, failure.hint) : null,
    failure.teardown.map((text) => h("pre", { tabindex: "0" }, text)),
    failure.log.length ? h("details", { open: !isFirst }, h("summary", {}, `The end of ${isFirst ? `the log of ${node.label}` : "its log"}`), h("pre", { class: "log", tabindex: "0" }, failure.log.join("\n"))) : null,
    failure.next.length ? h("dl", { class: "next" }, failure.next.map(([command, why]) => [h("dt", {}, copied(command)), h("dd", {}, why)])) : null,
  ];
}

function copied(text) {
  return h("span", { class: "command" }, h("code", {}, text), h("button", { type: "button", "aria-label": `copy ${text}`, on: { click: (event) => { navigator.clipboard?.writeText(text).then(() => { event.target.textContent = "copied"; say("copied"); }, () => selectText(event.target.previousSibling)); } } }, "copy"));
}

function selectText(element) {
  getSelection().selectAllChildren(element);
}

// --- pictures ---------------------------------------------------------------------------------------------------------

const MOST_PICTURES = 60;

function buildPictures(section) {
  section.append(h("div", { id: "gallery" }), h("p", { class: "dim", id: "gallery-note" }));
  listen("shown", () => {
    const found = [];
    for (const node of model.shown) for (const file of node.artifacts || []) if (file.picture) found.push([node, file]);
    document.getElementById("pictures").hidden = !found.length;
    refill(document.getElementById("gallery"), found.slice(0, MOST_PICTURES).map(([node, file]) => h("figure", {}, file.href ? link(file.href, picture(file.picture, `${file.name} of ${node.name}`)) : picture(file.picture, `${file.name} of ${node.name}`), h("figcaption", {}, h("button", { type: "button", class: "name", on: { click: () => openNode(node.key) } }, shortName(node)), h("span", { class: "dim" }, file.name)))));
    document.getElementById("gallery-note").textContent = found.length > MOST_PICTURES ? `The first ${MOST_PICTURES} of ${found.length} pictures: filter to see others.` : "";
  });
}

// --- one node ---------------------------------------------------------------------------------------------------------

function openNode(key) {
  const node = model.nodes.find((each) => each.key === key);
  if (!node) return;
  const dialog = document.getElementById("node");
  dialog.dataset.key = key;
  refill(dialog, nodeStory(node));
  if (!dialog.open) dialog.showModal();
  if (live.on) followLog(node);
}

function nodeStory(node) {
  const run = model.doc.runs[node.run];
  const facts = [
    ["outcome", outcomeMark(node)], ["reason", node.failure ? null : node.reason], ["run", model.doc.runs.length > 1 ? run.id : null], ["now", node.doing], ["declared", node.place],
    ["parameters", pairs(node.params)], ["metrics", pairs(node.metrics)],
    ["pod", [node.gpu, node.count > 1 ? ` ×${node.count}` : "", node.datacenter ? ` in ${node.datacenter}` : "", node.pod ? `, ${node.pod}` : ""].join("")], ["image", node.image], ["environment", node.environment], ["warning", node.warning ? h("span", { class: "warning" }, node.warning) : null],
    ["started", moment(node.started)], ["time", `${duration(node.seconds)}${node.attempts > 1 ? `, ${node.attempts} attempts` : ""}`], ["cost", `${money(node.usd)}${node.rate ? ` at ${money(node.rate)}/h` : ""}`],
    ["GPU", node.strip ? `busy ${number(node.strip.mean_util)} %, peak memory ${gigabytes(node.strip.peak_mb)} of ${gigabytes(node.strip.total_mb)}, idle for ${duration(node.strip.idle_seconds)}` : ""],
    ["needs", (node.needs ?? []).join(", ")], ["commit", node.commit], ["folder", node.folder],
  ];
  return h("div", { class: "story" },
    h("header", {}, h("h2", { id: "node-title" }, node.name), h("button", { type: "button", class: "close", "aria-label": "close", on: { click: () => document.getElementById("node").close() } }, "✕")),
    h("p", { class: "dim" }, node.id),
    factList(facts),
    node.failure ? h("section", {}, h("h3", {}, "Why it did not pass"), node.reason ? h("p", { class: "reason" }, node.reason) : null, failureBody(node, false)) : null,
    node.steps && node.steps.length ? h("section", {}, h("h3", {}, "Steps"), h("div", { class: "wide" }, h("table", { class: "plain steps" }, h("tbody", {}, node.steps.map(([kind, command, code, seconds], at) => h("tr", {}, h("td", { class: "n" }, at + 1), h("td", {}, kind), h("td", { class: "n" }, duration(seconds)), h("td", {}, code === null ? "" : `exit ${code}`), h("td", {}, h("code", {}, command)))))))) : null,
    node.pulls ? h("section", {}, h("h3", {}, "Pulled"), h("div", { class: "wide" }, h("table", { class: "plain" }, h("tbody", {}, node.pulls.map(([label, remote, files, size, verified]) => h("tr", {}, h("td", {}, label), h("td", {}, h("code", {}, remote)), h("td", { class: "n" }, counted(files, "file")), h("td", { class: "n" }, bytes(size)), h("td", { class: verified ? "passed" : "failed" }, verified ? "verified" : "NOT verified"))))))) : null,
    node.artifacts && node.artifacts.length ? h("section", {}, h("h3", {}, "Files"), h("ul", { class: "files" }, node.artifacts.map((file) => h("li", {}, file.href ? link(file.href, file.name) : h("span", {}, file.name), h("span", { class: "dim" }, ` ${bytes(file.bytes)}`), file.picture ? h("div", {}, picture(file.picture, file.name)) : null)))) : null,
    live.on ? h("section", {}, h("h3", {}, "Log"), h("pre", { class: "log live", id: "live-log", tabindex: "0", "aria-label": "log" })) : null);
}

function pairs(table) {
  return Object.entries(table || {}).map(([name, value]) => `${name} = ${number(value)}`).join(", ");
}

function factList(facts) {
  return h("dl", { class: "facts" }, facts.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
