// Live: the document of a run as its journals grow, the list of runs, and the log of the node that is looked at.

const live = { on: false, base: "", run: "", source: null, log: null };

function startLive(doc) {
  live.on = true;
  live.base = doc.base;
  document.body.prepend(h("nav", { id: "runs", "aria-label": "Runs" }, h("label", {}, "run ", h("select", { id: "run-choice", on: { change: (event) => { location.hash = encodeURIComponent(event.target.value); } } })), h("span", { id: "pulse", class: "dim", role: "status" })));
  load({ ...doc, nodes: [], runs: [], notes: [], studies: [] });
  addEventListener("hashchange", () => openRun(decodeURIComponent(location.hash.slice(1))));
  const runs = new EventSource(`${live.base}/runs`);
  runs.addEventListener("runs", (event) => {
    const listed = JSON.parse(event.data);
    const choice = document.getElementById("run-choice");
    refill(choice, listed.map((run) => h("option", { value: run.id }, `${run.id} · ${run.state} · ${run.summary}, ${money(run.usd)}`)));
    const wanted = decodeURIComponent(location.hash.slice(1));
    const chosen = listed.find((run) => run.id === wanted) || listed.find((run) => run.id === live.run && run.state === "running") || listed[0];
    if (chosen) openRun(chosen.id);
    if (!listed.length) document.getElementById("pulse").textContent = "There are no runs here yet; this page shows the first one when it starts.";
    choice.value = live.run;
  });
}

function openRun(id) {
  if (!id || id === live.run) return;
  live.run = id;
  document.getElementById("run-choice").value = id;
  if (live.source) live.source.close();
  model.off.clear(); model.brushes.clear(); model.best.clear(); model.hidden.clear();
  model.fresh = true;
  const pulse = document.getElementById("pulse");
  pulse.textContent = "reading…";
  live.source = new EventSource(`${live.base}/run/${encodeURIComponent(id)}`);
  live.source.addEventListener("document", (event) => { load({ ...JSON.parse(event.data), live: true }); shown(); });
  live.source.addEventListener("changed", (event) => {
    const changed = JSON.parse(event.data);
    const nodes = new Map(model.nodes.map((node) => [node.key, node]));
    for (const node of changed.nodes) nodes.set(node.key, node);
    load({ ...model.doc, runs: changed.runs, studies: changed.studies || model.doc.studies, notes: changed.notes, made: changed.made, nodes: [...nodes.values()] });
    refreshNode(new Set(changed.nodes.map((node) => node.key)));
    shown();
  });
  live.source.addEventListener("open", shown);
  live.source.addEventListener("error", () => { pulse.textContent = "rpd ui stopped or is restarting; trying again…"; });
  function shown() { const run = model.doc && model.doc.runs[0]; pulse.textContent = run ? (run.state === "running" ? "● live" : "") : ""; }
}

function refreshNode(keys) {
  const dialog = document.getElementById("node");
  if (!dialog.open || !keys.has(dialog.dataset.key)) return;
  const node = model.nodes.find((each) => each.key === dialog.dataset.key), log = document.getElementById("live-log");
  // What is taken out of a page and put back forgets how far it was scrolled.
  const top = dialog.scrollTop, at = log && log.scrollTop, atEnd = log && log.scrollHeight - at - log.clientHeight < 40;
  refill(dialog, nodeStory(node));
  if (log) {
    document.getElementById("live-log").replaceWith(log);
    log.scrollTop = atEnd ? log.scrollHeight : at;
  }
  dialog.scrollTop = top;
}

const MOST_LOG = 400000;

function followLog(node) {
  stopLog();
  const box = document.getElementById("live-log");
  live.log = new EventSource(`${live.base}/log/${encodeURIComponent(live.run)}/${encodeURIComponent(node.key.slice(node.key.indexOf("/") + 1))}`);
  const lines = document.createTextNode(""), rest = document.createTextNode("");
  refill(box, lines, rest);
  const write = (node, text) => {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    node.data = text.length > MOST_LOG ? `…\n${text.slice(-MOST_LOG / 2)}` : text;
    if (atEnd) box.scrollTop = box.scrollHeight;
  };
  live.log.addEventListener("begin", () => { write(lines, ""); write(rest, ""); });
  live.log.addEventListener("text", (event) => write(lines, lines.data + JSON.parse(event.data)));
  live.log.addEventListener("rest", (event) => write(rest, JSON.parse(event.data)));
}

function stopLog() {
  if (live.log) live.log.close();
  live.log = null;
}
