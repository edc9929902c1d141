// The page: its head, its sections, its theme and its filter.

const builds = [];

function buildPage() {
  refill(document.getElementById("page"),
    h("header", { id: "head" }),
    h("form", { id: "filter", role: "search", on: { submit: (event) => event.preventDefault() } },
      h("label", { class: "unseen", for: "words" }, "Filter nodes"),
      h("input", { id: "words", type: "search", placeholder: "Filter: words, lr=0.01, loss<0.2, -failed", autocomplete: "off", spellcheck: "false", on: { input: debounced(() => { model.words = document.getElementById("words").value; choose(); }) } }),
      h("div", { id: "outcomes", role: "group", "aria-label": "Outcomes shown" }),
      h("select", { id: "theme", "aria-label": "Colours", on: { change: (event) => setTheme(event.target.value) } }, ["system", "light", "dark"].map((name) => h("option", { value: name }, name)))),
    sectionOf("failures", "What did not pass", buildFailures),
    sectionOf("results", "Results", buildTable),
    sectionOf("curves", "Curves", buildCurves),
    sectionOf("history", "Search", buildHistory),
    sectionOf("timeline", "Timeline", buildTimeline),
    sectionOf("parallel", "Parameters and results", buildParallel),
    sectionOf("cost", "Cost", buildCost),
    sectionOf("pictures", "Pictures", buildPictures),
    h("footer", { id: "foot" }));
  document.body.append(h("dialog", { id: "node", "aria-labelledby": "node-title", on: { click: (event) => { if (event.target.id === "node") event.target.close(); }, close: () => { stopLog(); } } }),
    h("div", { id: "tip", hidden: true, "aria-hidden": "true" }), h("div", { id: "said", class: "unseen", role: "status", "aria-live": "polite" }));
  listen("data", drawHead);
  listen("data", drawOutcomes);
}

function sectionOf(id, title, build) {
  const section = h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title));
  builds.push(() => build(section));
  return section;
}

function setTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try { localStorage.setItem("rpd-theme", name); } catch { /* a file may have no storage */ }
}

// --- the head ---------------------------------------------------------------------------------------------------------

function drawHead() {
  const { doc } = model, runs = doc.runs;
  const counts = OUTCOMES.map((outcome) => [outcome, model.nodes.filter((node) => node.outcome === outcome).length]).filter(([, count]) => count);
  document.title = `${doc.title} · rpd`;
  refill(document.getElementById("head"),
    h("h1", {}, runs.length > 1 ? doc.title.length > 60 ? `${runs.length} runs` : doc.title : runs.length ? `rpd run ${doc.title}` : "rpd", runs.length === 1 ? h("span", { class: `state ${runs[0].state}` }, runs[0].state) : null),
    h("div", { class: "counts", role: "img", "aria-label": counts.map(([outcome, count]) => `${count} ${outcome}`).join(", ") || "nothing ran" },
      counts.map(([outcome, count]) => h("i", { class: `share ${outcome}`, style: { "flex-grow": String(count) } }))),
    h("p", { class: "summary" }, counts.length ? counts.map(([outcome, count], at) => [at ? ", " : "", h("span", { class: `outcome ${outcome}` }, `${count} ${outcome}`)]) : "nothing ran", left(runs)),
    runs.length === 1 ? runFacts(runs[0]) : runsTable(runs),
    warnings(runs),
    doc.notes.map((note) => h("p", { class: "note" }, note)));
  refill(document.getElementById("foot"), h("p", { class: "dim" }, `rpd ${doc.rpd}, ${doc.live ? "as of" : "written"} ${moment(doc.made)}. This page holds all it shows and loads nothing.`));
  if (doc.live) document.getElementById("foot").firstChild.textContent = `rpd ${doc.rpd}, read from the run folders on this machine; read-only.`;
}

function left(runs) {
  const counts = [[total(runs.map((run) => run.deselected)), "deselected"], [total(runs.map((run) => model.nodes.some((node) => node.outcome === "planned") ? 0 : run.not_run)), "not run"]];
  return counts.filter(([count]) => count).map(([count, what]) => `, ${count} ${what}`);
}

function runFacts(run) {
  const going = model.nodes.filter((node) => node.going), rate = total(going.map((node) => node.rate));
  const usd = total(model.nodes.map((node) => node.usd));
  const facts = [
    ["started", moment(run.started)],
    ["time", `${duration(run.state === "running" && run.started ? Date.now() / 1000 - run.started : run.seconds)}${run.width > 1 ? `, ${run.width} nodes at once` : ""}`],
    ["cost", [h("b", {}, money(usd)), run.worst_usd ? h("span", { class: "dim" }, ` of at most ${money(run.worst_usd)}`) : null]],
    ["now", rate ? `${money(rate)} per hour, ${counted(going.length, "node")} running` : null],
    ["left", run.state === "running" ? leftOf(run, going) : null],
    ["commit", run.commit ? h("code", { title: run.commit }, run.commit.slice(0, 12), run.branch ? ` on ${run.branch}` : "", run.dirty ? " with changes" : "") : null],
    ["command", run.command ? copied(run.command) : null],
    ["owner", run.owner], ["backend", run.backend], ["stopped", run.stopped], ["folder", run.folder ? h("code", {}, run.folder) : null],
  ];
  return factList(facts);
}

function leftOf(run, going) {
  const waiting = model.nodes.filter((node) => node.outcome === "planned").length;
  const over = model.nodes.filter((node) => !node.going && node.seconds && node.outcome !== "planned" && node.outcome !== "cached");
  const each = mean(over.map((node) => node.seconds));
  const sentences = [counted(waiting + going.length, "node")];
  if (each) {
    const seconds = (waiting * each + total(going.map((node) => Math.max(0, each - node.seconds)))) / Math.max(1, run.width);
    sentences.push(`about ${duration(seconds)}`);
    const dollars = mean(over.map((node) => node.usd));
    if (dollars) sentences.push(`about ${money(dollars * waiting + total(going.map((node) => Math.max(0, dollars - node.usd))))}`);
  }
  return sentences.join(", ");
}

function runsTable(runs) {
  const nodes = runs.map((_, at) => model.nodes.filter((node) => node.run === at));
  return h("div", { class: "wide" }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, ["run", "state", "started", "time", "nodes", "cost", "commit", "command"].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, runs.map((run, at) => h("tr", {}, h("th", { scope: "row" }, run.id), h("td", {}, run.state), h("td", {}, moment(run.started)), h("td", {}, duration(run.seconds)), h("td", { class: "n" }, nodes[at].length), h("td", { class: "n" }, money(total(nodes[at].map((node) => node.usd)))), h("td", {}, h("code", {}, run.commit.slice(0, 12))), h("td", {}, h("code", {}, run.command)))))));
}

function warnings(runs) {
  const sentences = [];
  for (const run of runs) {
    const of = runs.length > 1 ? `${run.id}: ` : "";
    if (run.damage) sentences.push(`${of}this run folder is damaged, and shown as far as it can be read: ${run.damage}`);
    if (run.unreleased.length) sentences.push(`${of}pods that may still bill: ${run.unreleased.join(", ")}`);
    if (run.leftover.length) sentences.push(`${of}kept pods that still bill: ${run.leftover.join(", ")}`);
    if (run.state === "unfinished") sentences.push(`${of}its process died, and its pods may still bill: rpd resume ${run.id} resumes it, rpd gc finds its pods`);
  }
  return sentences.map((text) => h("p", { class: "warning", role: "note" }, text));
}

function drawOutcomes() {
  const counts = OUTCOMES.map((outcome) => [outcome, model.nodes.filter((node) => node.outcome === outcome).length]).filter(([, count]) => count);
  refill(document.getElementById("outcomes"), counts.length < 2 ? null : counts.map(([outcome, count]) => h("button", { type: "button", class: `chip ${outcome}`, "aria-pressed": String(!model.off.has(outcome)), on: { click: () => {
    if (model.off.has(outcome)) model.off.delete(outcome); else model.off.add(outcome);
    drawOutcomes();
    choose();
    say(`${outcome} ${model.off.has(outcome) ? "hidden" : "shown"}, ${model.shown.length} nodes`);
  } } }, h("span", { "aria-hidden": "true" }, `${SIGNS[outcome]} `), `${outcome} ${count}`)));
}

// What is folded on a screen is open on paper.
function unfold() {
  for (const part of document.querySelectorAll("section details:not([open]):not(.menu)")) { part.open = true; part.dataset.folded = "yes"; }
}

function fold() {
  for (const part of document.querySelectorAll("details[data-folded]")) { part.open = false; delete part.dataset.folded; }
}

function begin() {
  let theme = "system";
  try { theme = localStorage.getItem("rpd-theme") || "system"; } catch { /* a file may have no storage */ }
  if (!["system", "light", "dark"].includes(theme)) theme = "system";
  addEventListener("beforeprint", unfold);
  addEventListener("afterprint", fold);
  buildPage();
  for (const build of builds) build();
  document.getElementById("theme").value = theme;
  setTheme(theme);
  const doc = JSON.parse(document.getElementById("document").textContent);
  if (doc.live && doc.base !== undefined) startLive(doc);
  else load(doc);
  document.documentElement.dataset.ready = "yes";
}
