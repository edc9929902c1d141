// The model: which nodes are shown, in which order, in which columns; who draws them listens.

const OUTCOMES = ["failed", "error", "damaged", "unfinished", "running", "passed", "xpassed", "xfailed", "skipped", "cached", "pruned", "planned"];
const SIGNS = { passed: "✓", failed: "✗", error: "✗", skipped: "–", cached: "=", xfailed: "~", xpassed: "✓", running: "▶", planned: "○", unfinished: "…", damaged: "?", pruned: "✂" };
const PHASES = ["booting", "staging", "working", "pulling", "idle", "waiting"];
const COLOURS = 8;
const SHADES = 12;
const LONGEST_LABEL = 44;
const SEED = /^(seed|random_?seed|rng|seeds|trial|repeat|replicate|fold)$/i;
const LOW = /(loss|err|error|mae|mse|rmse|mape|nll|perplexity|ppl|wer|cer|fid|latency|time|seconds|bytes|memory|mem|usd|cost|regret|divergence|kl)$/i;
const HIGH = /(acc|accuracy|f1|auc|auroc|score|precision|recall|bleu|rouge|reward|return|r2|iou|map|throughput|per_sec|per_second|mfu|util|win_?rate|ndcg|mrr|hits)$/i;

const model = {
  doc: null, nodes: [], shown: [], columns: [], sort: { key: "", down: false }, words: "", off: new Set(), brushes: new Map(),
  over: "", colourBy: "", best: new Map(), hidden: new Set(), hover: null, listeners: { data: [], shown: [], hover: [] },
};

function listen(kind, act) { model.listeners[kind].push(act); }
function emit(kind) { for (const act of model.listeners[kind]) act(); }

function load(doc) {
  const first = model.doc === null || model.fresh;
  model.fresh = false;
  model.doc = doc;
  model.nodes = doc.nodes;
  for (const node of doc.nodes) for (const name of ["params", "metrics", "series"]) if (node[name]) bare(node[name]);
  model.columns = columnsOf(doc);
  const varying = model.columns.filter((column) => column.group === "parameters" && distinct(column, 2).length > 1);
  for (const node of doc.nodes) node.label = labelOf(node, varying);
  const keys = new Set(model.columns.map((column) => column.key));
  if (first) {
    for (const column of model.columns) if (column.rare) model.hidden.add(column.key);
    const wanted = doc.ranking && [`metric.${doc.ranking.column}`, `param.${doc.ranking.column}`, doc.ranking.column].find((key) => keys.has(key));
    if (wanted) {
      model.sort = { key: wanted, down: doc.ranking.down };
      model.best.set(wanted, doc.ranking.down ? 1 : -1);
    }
  }
  for (const column of model.columns) {
    if (column.group !== "metrics" || model.best.has(column.key)) continue;
    const name = column.title.split(/[./]/).pop();
    model.best.set(column.key, LOW.test(name) ? -1 : HIGH.test(name) ? 1 : 0);
  }
  model.colourBy = keys.has(model.colourBy) ? model.colourBy : firstVarying(model.columns) || "";
  colours = null;
  emit("data");
  choose();
}

// A table whose names are those of the document alone, also where one is called "constructor".
function bare(table) { return Object.setPrototypeOf(table, null); }

function columnsOf(doc) {
  const nodes = doc.nodes, columns = [];
  const several = (get) => { let one; for (const node of nodes) { const value = get(node); if (one === undefined) one = value; else if (value !== one) return true; } return false; };
  const put = (column) => {
    const values = nodes.map(column.get).filter(isNumber);
    column.numeric = values.length > 0;
    if (column.group === "metrics" && column.numeric) column.decimals = decimalsOf(values);
    columns.push(column);
  };
  if (doc.runs.length > 1) put({ key: "run", group: "node", title: "run", get: (node) => doc.runs[node.run].id });
  if (several((node) => node.file)) put({ key: "file", group: "node", title: "file", get: (node) => node.file });
  put({ key: "node", group: "node", title: "node", get: (node) => node.label, order: (node) => node.name });
  put({ key: "outcome", group: "node", title: "outcome", get: (node) => node.outcome, order: (node) => OUTCOMES.indexOf(node.outcome) });
  for (const name of namesOf(nodes, "params")) put({ key: `param.${name}`, group: "parameters", title: name, get: (node) => node.params[name] });
  for (const name of namesOf(nodes, "metrics")) put({ key: `metric.${name}`, group: "metrics", title: name, get: (node) => node.metrics[name] });
  put({ key: "gpu", group: "facts", title: "GPU", get: (node) => node.gpu ? (node.count > 1 ? `${node.count}× ${node.gpu}` : node.gpu) : "", show: shortGpu });
  put({ key: "datacenter", group: "facts", title: "data centre", get: (node) => node.datacenter || "", rare: true });
  put({ key: "seconds", group: "facts", title: "time", get: (node) => node.outcome === "planned" ? null : node.seconds, show: duration });
  put({ key: "usd", group: "facts", title: "cost", get: (node) => node.outcome === "planned" ? null : node.usd, show: money });
  put({ key: "rate", group: "facts", title: "$/h", get: (node) => node.rate || null, show: money, rare: true });
  if (nodes.some((node) => node.strip)) {
    put({ key: "util", group: "facts", title: "GPU busy", get: (node) => node.strip ? node.strip.mean_util : null, show: (share) => isNumber(share) ? `${Math.round(share)} %` : "" });
    put({ key: "peak", group: "facts", title: "peak memory", get: (node) => node.strip ? node.strip.peak_mb : null, show: gigabytes });
  }
  put({ key: "attempts", group: "facts", title: "attempts", get: (node) => node.attempts, rare: true });
  put({ key: "started", group: "facts", title: "started", get: (node) => node.started, show: moment, rare: true });
  put({ key: "cause", group: "facts", title: "cause", get: (node) => node.cause || "", rare: true });
  return columns;
}

// The name of a node; where that is long, its job and what varies, in short. The whole id is never far.
function labelOf(node, varying) {
  if (node.name.length <= LONGEST_LABEL) return node.name;
  const values = varying.map((column) => column.get(node)).filter((value) => value !== undefined && value !== null);
  if (!values.length) return node.name;
  return cut(`${node.job}[${values.map((value) => isNumber(value) ? number(Number(value.toPrecision(3))) : cut(String(value), 14)).join(", ")}]`, 72);
}

function cut(text, most) { return text.length > most ? `${text.slice(0, most - 1)}…` : text; }

// The maker is the same for all: what tells cards apart comes first.
function shortGpu(text) { return typeof text === "string" ? text.replace(/NVIDIA (GeForce )?/, "") : ""; }

function namesOf(nodes, field) {
  const found = new Set();
  for (const node of nodes) for (const name of Object.keys(node[field])) found.add(name);
  return [...found];
}

function firstVarying(columns) {
  const varying = columns.filter((column) => column.group === "parameters" && distinct(column, 2).length > 1);
  const few = varying.filter((column) => distinct(column, COLOURS + 1).length <= COLOURS);
  const chosen = few.find((column) => !SEED.test(column.title)) || varying.find((column) => !SEED.test(column.title)) || varying[0] || columns.find((column) => column.key === "run");
  return chosen ? chosen.key : "";
}

function distinct(column, most) {
  const found = new Set();
  for (const node of model.nodes) {
    const value = column.get(node);
    if (value !== undefined && value !== null && value !== "") found.add(value);
    if (found.size >= most) break;
  }
  return [...found];
}

function columnOf(key) { return model.columns.find((column) => column.key === key); }

function textOf(column, value) {
  if (column.show) return column.show(value);
  return isNumber(value) && column.decimals !== undefined ? value.toFixed(column.decimals) : number(value);
}

// Metrics of one column have as many decimals as the one that needs most of four digits.
function decimalsOf(values) {
  let most = 0;
  for (const value of values) {
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return undefined;
    most = Math.max(most, (number(value).split(".")[1] || "").length);
  }
  return Math.min(5, most);
}

// --- choosing and ordering -------------------------------------------------------------------------------------------

const COMPARISON = /^(-?)([^\s<>=!~:]+)(<=|>=|!=|=|<|>|~|:)(.+)$/;

function tests(words) {
  return (words.match(/"[^"]*"|\S+/g) || []).map((raw) => {
    const word = raw.replace(/^"|"$/g, "");
    const found = COMPARISON.exec(word);
    if (found) {
      const [, minus, name, sign, wanted] = found;
      const column = model.columns.find((each) => each.key === name || each.title === name) || model.columns.find((each) => each.key.endsWith(`.${name}`));
      if (column) return negated(minus, (node) => compares(column.get(node), sign, wanted));
    }
    const minus = word.length > 1 && word.startsWith("-") ? "-" : "";
    const part = word.slice(minus.length).toLowerCase();
    return negated(minus, (node) => haystack(node).includes(part));
  });
}

function negated(minus, test) { return minus ? (node) => !test(node) : test; }

function haystack(node) {
  return `${node.id} ${node.outcome} ${node.cause || ""} ${node.reason || ""} ${node.gpu || ""} ${node.pod || ""}`.toLowerCase();
}

function compares(value, sign, wanted) {
  if (value === null || value === undefined) return sign === "!=";
  const is = Number(wanted);
  if (sign === "~") return String(value).toLowerCase().includes(wanted.toLowerCase());
  if (isNumber(value) && !Number.isNaN(is)) return { "=": value === is, ":": value === is, "!=": value !== is, "<": value < is, ">": value > is, "<=": value <= is, ">=": value >= is }[sign];
  const equal = String(value).toLowerCase() === wanted.toLowerCase();
  return sign === "=" || sign === ":" ? equal : sign === "!=" ? !equal : false;
}

function choose() {
  const asked = tests(model.words);
  model.shown = model.nodes.filter((node) => !model.off.has(node.outcome) && asked.every((test) => test(node)) && inBrushes(node));
  order(model.shown, columnOf(model.sort.key), model.sort.down);
  emit("shown");
}

function inBrushes(node) {
  for (const [key, [low, high]] of model.brushes) {
    const column = columnOf(key), value = column && axisValue(column, column.get(node));
    if (!isNumber(value) || value < low || value > high) return false;
  }
  return true;
}

const inWords = new Intl.Collator("en", { numeric: true });

// Numbers before texts, and what has no value last, whichever way.
function order(rows, column, down) {
  if (!column) return rows;
  const value = column.order || column.get;
  const keys = new Map(rows.map((each, at) => [each, [value(each), at]]));
  const rank = (each) => isNumber(each) ? 0 : each === null || each === undefined || each === "" || each === "NaN" || each === "nan" ? 2 : 1;
  return rows.sort((left, right) => {
    const [a, i] = keys.get(left), [b, j] = keys.get(right);
    const ranks = rank(a) - rank(b);
    if (ranks) return ranks;
    const way = isNumber(a) ? a - b : rank(a) === 1 ? inWords.compare(String(a), String(b)) : 0;
    return (down ? -way : way) || i - j;
  });
}

// --- means over seeds ------------------------------------------------------------------------------------------------

function grouped(nodes, over) {
  const parameters = model.columns.filter((column) => column.group === "parameters" && column.key !== over);
  const metrics = model.columns.filter((column) => column.group === "metrics");
  const groups = new Map();
  for (const node of nodes) {
    const key = JSON.stringify([node.file, node.job, ...parameters.map((column) => column.get(node) ?? null)]);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(node);
  }
  return [...groups].map(([key, members]) => {
    const first = members[0];
    const values = parameters.map((column) => [column.title, column.get(first)]).filter(([, value]) => value !== undefined);
    const row = {
      key, members, label: "", id: first.job, file: first.file, job: first.job, run: first.run, name: `${first.job}[${values.map(([name, value]) => `${name}=${number(value)}`).join(", ")}]`,
      params: bare(Object.fromEntries(values)), metrics: bare({}), deviations: bare({}), counts: bare({}), ok: members.every((node) => node.ok), gpu: same(members.map((node) => node.gpu)),
      count: first.count, datacenter: same(members.map((node) => node.datacenter)), seconds: mean(members.map((node) => node.seconds)), usd: total(members.map((node) => node.usd)),
      attempts: total(members.map((node) => node.attempts || 0)), outcome: tally(members),
    };
    row.label = row.name;
    for (const column of metrics) {
      const values = members.map(column.get).filter(isNumber);
      if (!values.length) continue;
      row.metrics[column.title] = mean(values);
      row.deviations[column.key] = deviation(values);
      row.counts[column.key] = values.length;
    }
    return row;
  });
}

function same(values) { return values.every((value) => value === values[0]) ? values[0] : "several"; }
function total(values) { return values.reduce((sum, value) => sum + (isNumber(value) ? value : 0), 0); }
function mean(values) { const known = values.filter(isNumber); return known.length ? total(known) / known.length : null; }

function deviation(values) {
  if (values.length < 2) return null;
  const middle = mean(values);
  return Math.sqrt(total(values.map((value) => (value - middle) ** 2)) / (values.length - 1));
}

function tally(members) {
  return OUTCOMES.map((outcome) => [outcome, members.filter((node) => node.outcome === outcome).length]).filter(([, count]) => count).map(([outcome, count]) => `${count} ${outcome}`).join(", ");
}

// --- best values and colours -----------------------------------------------------------------------------------------

function bestOf(rows, column) {
  const way = model.best.get(column.key);
  if (!way) return null;
  let best = null;
  for (const row of rows) {
    const value = column.get(row);
    if (isNumber(value) && (best === null || (value - best) * way > 0)) best = value;
  }
  return best;
}

let colours = null;

// By what nodes are coloured: eight colours for a few values, shades from low to high for many numbers.
function colouring() {
  if (colours && colours.by === model.colourBy) return colours;
  const column = columnOf(model.colourBy);
  const values = column ? distinct(column, Infinity) : [];
  const numbers = values.filter(isNumber).sort((a, b) => a - b);
  colours = { by: model.colourBy, column };
  if (numbers.length === values.length && values.length > COLOURS) {
    const low = numbers[0], high = numbers[numbers.length - 1], isLog = low > 0 && high / low >= 50;
    colours.share = (value) => isLog ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
    colours.legend = [0, 0.25, 0.5, 0.75, 1].map((share) => isLog ? low * (high / low) ** share : low + (high - low) * share);
  } else {
    if (numbers.length === values.length) values.sort((a, b) => a - b);
    colours.places = new Map(values.map((value, at) => [value, at]));
  }
  return colours;
}

// The class that colours a value, or a node by its value.
function colourOfValue(value) {
  const scale = colouring();
  if (scale.share) return isNumber(value) ? `s${Math.min(SHADES - 1, Math.floor(scale.share(value) * SHADES))}` : "none";
  return `c${scale.places ? (scale.places.get(value) ?? 0) % COLOURS : 0}`;
}

function colourOf(node) {
  const { column } = colouring();
  return column ? colourOfValue(column.get(node)) : "c0";
}

function colourLegend() {
  const { column, legend, places } = colouring();
  if (!column) return [];
  const values = legend || [...places.keys()].slice(0, 2 * COLOURS);
  const labels = values.map((value) => [legend ? number(Number(value.toPrecision(3))) : textOf(column, value), colourOfValue(value)]);
  return places && places.size > values.length ? [...labels, [`and ${places.size - values.length} more`, "none"]] : labels;
}

// Places of texts on an axis, in their order.
const axisPlaces = new Map();

function axisValue(column, value) {
  if (isNumber(value)) return value;
  if (value === undefined || value === null || value === "") return null;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (column.numeric) return null;
  let places = axisPlaces.get(column.key);
  if (!places || places.of !== model.doc) {
    const values = distinct(column, 500).sort((a, b) => inWords.compare(String(a), String(b)));
    places = { of: model.doc, at: new Map(values.map((each, at) => [each, at])), values };
    axisPlaces.set(column.key, places);
  }
  return places.at.get(value) ?? null;
}
