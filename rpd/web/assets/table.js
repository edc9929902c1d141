// The table of results: sorted by its headings, with only the rows that are in sight where there are many.

const ROW = 31;
const WHOLE = 150;
const PRINTED = 2000;

const table = { rows: [], printing: false, widths: new Map() };

function buildTable(section) {
  const chooser = h("details", { class: "menu" }, h("summary", {}, "Columns"), h("div", { class: "choices", id: "columns" }));
  const over = h("select", { id: "over", on: { change: (event) => { model.over = event.target.value; table.widths.clear(); drawTable(); } } });
  section.append(
    h("div", { class: "tools" }, h("label", {}, "mean over ", over), chooser, h("span", { id: "tally", class: "dim" })),
    h("div", { class: "scroll", id: "grid", tabindex: "0", role: "region", "aria-label": "Results, a row for each node", on: { scroll: debounced(placeRows), keydown: gridKeys } },
      h("table", {}, h("colgroup", {}), h("thead", {}), h("tbody", {}))));
  listen("data", () => { drawChoices(); });
  listen("shown", () => { table.widths.clear(); drawTable(); });
  listen("hover", () => markRows());
  addEventListener("beforeprint", () => { table.printing = true; drawTable(); });
  addEventListener("afterprint", () => { table.printing = false; drawTable(); });
  addEventListener("resize", debounced(placeRows));
}

function drawChoices() {
  const parameters = model.columns.filter((column) => column.group === "parameters");
  const over = document.getElementById("over");
  if (!parameters.some((column) => column.key === model.over)) model.over = "";
  refill(over, h("option", { value: "" }, "nothing"), parameters.map((column) => h("option", { value: column.key }, column.title)));
  const seed = parameters.find((column) => SEED.test(column.title));
  if (seed) over.querySelector(`option[value="${CSS.escape(seed.key)}"]`)?.classList.add("seed");
  over.value = model.over;
  over.parentElement.hidden = !parameters.length;
  refill(document.getElementById("columns"), groupsOf(model.columns).map(([group, columns]) => h("fieldset", {}, h("legend", {}, group), columns.map((column) => {
    const box = h("input", { type: "checkbox", on: { change: () => { if (box.checked) model.hidden.delete(column.key); else model.hidden.add(column.key); drawTable(); } } });
    box.checked = !model.hidden.has(column.key);
    const best = column.group === "metrics" ? h("select", { "aria-label": `which ${column.title} is best`, on: { change: (event) => { model.best.set(column.key, Number(event.target.value)); drawTable(); } } },
      h("option", { value: "0" }, "no best"), h("option", { value: "-1" }, "lowest is best"), h("option", { value: "1" }, "highest is best")) : null;
    if (best) best.value = String(model.best.get(column.key) || 0);
    return h("div", {}, h("label", {}, box, " ", column.title), best);
  }))));
}

function groupsOf(columns) {
  const groups = new Map();
  for (const column of columns) {
    if (!groups.has(column.group)) groups.set(column.group, []);
    groups.get(column.group).push(column);
  }
  return [...groups];
}

function drawTable() {
  const columns = model.columns.filter((column) => !model.hidden.has(column.key) && column.key !== model.over);
  const element = document.querySelector("#grid table");
  table.columns = columns;
  table.rows = model.over ? order(grouped(model.shown, model.over), columnOf(model.sort.key), model.sort.down) : model.shown;
  table.best = new Map(columns.map((column) => [column.key, bestOf(table.rows, column)]));
  const widths = columns.map((column) => { if (!table.widths.has(column.key)) table.widths.set(column.key, widthOf(column)); return table.widths.get(column.key); });
  refill(element.querySelector("colgroup"), widths.map((width) => h("col", { style: { width: `${width}ch` } })));
  element.style.setProperty("width", `max(100%, ${widths.reduce((sum, width) => sum + width, 0)}ch)`);
  element.setAttribute("aria-rowcount", String(table.rows.length + 2));
  refill(element.querySelector("thead"),
    h("tr", { class: "groups" }, groupsOf(columns).map(([group, members]) => h("th", { colspan: String(members.length), scope: "colgroup" }, group === "node" ? "" : group))),
    h("tr", {}, columns.map(heading)));
  const spent = total(model.shown.map((node) => node.usd));
  document.getElementById("tally").textContent = `${model.shown.length === model.nodes.length ? counted(model.nodes.length, "node") : `${model.shown.length.toLocaleString("en")} of ${counted(model.nodes.length, "node")}`}, ${money(spent)}`;
  table.drawn = "";
  placeRows();
}

function heading(column) {
  const isSorted = model.sort.key === column.key;
  return h("th", { scope: "col", class: column.numeric ? "n" : "", "aria-sort": isSorted ? (model.sort.down ? "descending" : "ascending") : null },
    h("button", { type: "button", title: column.key, on: { click: () => sortBy(column.key) } }, column.title));
}

function sortBy(key) {
  model.sort = { key, down: model.sort.key === key && !model.sort.down };
  order(model.shown, columnOf(key), model.sort.down);
  drawTable();
  say(`sorted by ${columnOf(key).title}, ${model.sort.down ? "highest" : "lowest"} first`);
  [...document.querySelectorAll("#grid thead button")].find((button) => button.title === key)?.focus();
}

// So wide that nothing moves when other rows come into sight.
function widthOf(column) {
  let longest = column.title.length + 2;
  for (const row of table.rows) longest = Math.max(longest, cellText(column, row).length);
  return Math.min(column.key === "node" ? (innerWidth < 600 ? 17 : 46) : 30, Math.max(5, longest)) * (column.key === "run" || column.key === "gpu" ? 1.05 : 0.9) + 3;
}

function cellText(column, row) {
  if (column.key === "outcome" && !row.members) return `${row.outcome}${row.cause ? ` (${row.cause})` : ""}  `;
  const value = column.get(row), text = textOf(column, value === undefined ? null : value);
  const spread = row.deviations && row.deviations[column.key];
  const count = row.counts && row.counts[column.key];
  return count ? `${text}${isNumber(spread) ? ` ± ${number(Number(spread.toPrecision(2)))}` : ""} (${count})` : text;
}

function placeRows() {
  const grid = document.getElementById("grid"), body = grid.querySelector("tbody"), count = table.rows.length;
  const isWhole = count <= WHOLE;
  grid.classList.toggle("tall", !isWhole && !table.printing);
  let first = 0, last = count;
  if (table.printing) last = Math.min(count, PRINTED);
  else if (!isWhole) {
    first = Math.max(0, Math.floor(grid.scrollTop / ROW) - 20);
    last = Math.min(count, first + Math.ceil(grid.clientHeight / ROW) + 40);
  }
  if (table.drawn === `${first}-${last}`) return;
  table.drawn = `${first}-${last}`;
  const focused = body.contains(document.activeElement) ? document.activeElement.closest("tr")?.getAttribute("aria-rowindex") : null;
  const left = table.printing && last < count ? h("tr", {}, h("td", { colspan: String(table.columns.length) }, `… and ${counted(count - last, "more row")}`)) : null;
  refill(body, gap(first), table.rows.slice(first, last).map((row, at) => tableRow(row, first + at)), left, table.printing ? null : gap(count - last));
  if (!count) refill(body, h("tr", {}, h("td", { colspan: String(table.columns.length), class: "dim" }, model.nodes.length ? "No node matches the filter." : "No nodes.")));
  if (focused) body.querySelector(`tr[aria-rowindex="${focused}"] button`)?.focus({ preventScroll: true });
  markRows();
}

function gap(rows) {
  return rows ? h("tr", { "aria-hidden": "true", class: "gap", style: { height: `${rows * ROW}px` } }) : null;
}

function tableRow(row, at) {
  const members = row.members;
  return h("tr", { "aria-rowindex": String(at + 3), "data-key": row.key, on: members ? {} : { pointerenter: () => hover(row), pointerleave: () => hover(null) } }, table.columns.map((column) => cell(column, row)));
}

function cell(column, row) {
  const text = cellText(column, row), value = column.get(row);
  if (column.key === "node") return h("th", { scope: "row", title: row.id }, row.members ? text : h("button", { type: "button", class: "name", on: { click: () => openNode(row.key) } }, text));
  if (column.key === "outcome") return h("td", { title: row.reason || "" }, row.members ? text : outcomeMark(row));
  const isBest = isNumber(value) && table.best.get(column.key) === value;
  return h("td", { class: [column.numeric ? "n" : "", isBest ? "best" : ""].join(" ").trim() || null, title: text.length > 24 ? text : null }, text, isBest ? h("span", { class: "unseen" }, " best") : null);
}

function outcomeMark(node) {
  return h("span", { class: `outcome ${node.outcome}` }, h("span", { "aria-hidden": "true" }, `${SIGNS[node.outcome] || "·"} `), node.outcome, node.cause ? ` (${node.cause})` : "");
}

function hover(node) {
  if (model.hover === node) return;
  model.hover = node;
  emit("hover");
}

function markRows() {
  for (const row of document.querySelectorAll("#grid tr.hover, #lanes .lane.hover")) row.classList.remove("hover");
  if (!model.hover) return;
  for (const row of document.querySelectorAll(`#grid tr[data-key="${CSS.escape(model.hover.key)}"], #lanes .lane[data-key="${CSS.escape(model.hover.key)}"]`)) row.classList.add("hover");
}

// Arrow keys go from row to row, Home and End to the first and the last.
function gridKeys(event) {
  const row = event.target.closest("tbody tr");
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15 }[event.key];
  if (!row || (step === undefined && event.key !== "Home" && event.key !== "End")) return;
  event.preventDefault();
  const at = Number(row.getAttribute("aria-rowindex")) - 3;
  const wanted = event.key === "Home" ? 0 : event.key === "End" ? table.rows.length - 1 : Math.min(table.rows.length - 1, Math.max(0, at + step));
  const grid = document.getElementById("grid");
  if (table.rows.length > WHOLE) { grid.scrollTop = Math.max(0, wanted * ROW - grid.clientHeight / 2); placeRows(); }
  grid.querySelector(`tr[aria-rowindex="${wanted + 3}"] button`)?.focus({ preventScroll: table.rows.length > WHOLE });
}
