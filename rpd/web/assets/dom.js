// Elements and texts. Whatever a document says becomes a text node or an attribute of a known name, never markup.

const SVG = "http://www.w3.org/2000/svg";

function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [kind, act] of Object.entries(value)) element.addEventListener(kind, act);
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child !== null && child !== undefined && child !== false && child !== "") element.append(child);
  }
}

function refill(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

// A link to a file of the run: relative, or one to a file on this disk. Anything else is no link.
function link(href, ...children) {
  const isSafe = typeof href === "string" && (/^file:\/\/\//.test(href) || !/^\s*[a-z][a-z0-9+.-]*:|^\s*\/\//i.test(href));
  return isSafe ? h("a", { href, rel: "noreferrer noopener" }, ...children) : h("span", {}, ...children);
}

function picture(source, alt) {
  const isSafe = typeof source === "string" && (/^data:image\/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]*$/.test(source) || /^(?![a-z]+:|\/\/)/i.test(source));
  return isSafe ? h("img", { src: source, alt }) : h("span", {}, alt);
}

function debounced(act) {
  let asked = 0;
  return () => {
    if (asked) return;
    asked = requestAnimationFrame(() => { asked = 0; act(); });
  };
}

function say(text) {
  document.getElementById("said").textContent = text;
}

// --- how values read ---------------------------------------------------------------------------------------------

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

function number(value) {
  if (!isNumber(value)) return value === null || value === undefined ? "" : String(value);
  if (Number.isInteger(value)) return Math.abs(value) < 1e15 ? String(value) : value.toExponential(3);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential(3).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(size >= 1000 ? 6 : 4)));
}

function money(usd) {
  if (!isNumber(usd)) return "";
  if (usd === 0) return "$0";
  return usd < 0.01 ? "<$0.01" : `$${usd.toFixed(2)}`;
}

function duration(seconds) {
  if (!isNumber(seconds)) return "";
  if (seconds < 10) return `${seconds.toFixed(1)}s`;
  if (seconds < 60) return `${Math.round(seconds)}s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600) % 24, days = Math.floor(whole / 86400);
  if (days) return `${days}d ${hours}h`;
  if (hours) return `${hours}h ${String(minutes).padStart(2, "0")}m`;
  return `${minutes}m ${String(whole % 60).padStart(2, "0")}s`;
}

function moment(at) {
  return isNumber(at) ? `${new Date(at * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC` : "";
}

function bytes(count) {
  if (!isNumber(count)) return "";
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (count < 1000 || unit === "TB") return `${count < 10 && unit !== "B" ? count.toFixed(1) : Math.round(count)} ${unit}`;
    count /= 1000;
  }
}

function gigabytes(mebibytes) {
  return isNumber(mebibytes) ? `${(mebibytes / 1024).toFixed(mebibytes < 10240 ? 1 : 0)} GiB` : "";
}

function counted(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

// --- scales ---------------------------------------------------------------------------------------------------------

function ticks(low, high, most) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) || 10 * power;
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9 && found.length < 50; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return found;
}

function timeTicks(length, most) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
  const rough = length / Math.max(1, most);
  const step = steps.find((n) => n >= rough) || Math.ceil(rough / 604800) * 604800;
  const found = [];
  for (let at = 0; at <= length && found.length < 50; at += step) found.push(at);
  return found;
}
