// What the page is made of: elements, words, numbers and small pictures. Text, from wherever it
// comes, only ever becomes text nodes; there is no markup made of it.

export const $ = id => document.getElementById(id);

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "click") node.addEventListener("click", value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

export function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Replaces the content of a node only when what it shows has changed: focus and selection stay.
export function put(node, shown, make) {
  const key = JSON.stringify(shown);
  if (node.dataset.shown === key) return;
  node.dataset.shown = key;
  node.replaceChildren(...[make()].flat().filter(child => child !== null && child !== false));
}

// Brings the children of a node in line with items, each made once by its key and then updated.
export function keyed(parent, items, keyOf, make) {
  const before = new Map([...parent.children].map(node => [node.dataset.key, node]));
  let last = null;
  for (const item of items) {
    const key = keyOf(item), node = before.get(key) ?? make(item);
    node.dataset.key = key;
    before.delete(key);
    const place = last ? last.nextSibling : parent.firstChild;
    if (node !== place) parent.insertBefore(node, place);
    node.update(item);
    last = node;
  }
  for (const node of before.values()) node.remove();
}

// --- words and numbers --------------------------------------------------------------------------

const UNITS = { Cel: "°C", C: "°C", F: "°F", "/100": "%", "%RH": "%", deg: "°", lux: "lx", "m/s2": "m/s²" };
export const unitText = unit => UNITS[unit] ?? unit;

// So that a column of numbers stands still, a value keeps as many decimals as it ever had.
const decimals = new Map();
function fixed(number, most, key) {
  const [, fraction = ""] = String(Number(number.toFixed(most))).split(".");
  const digits = Math.min(most, Math.max(decimals.get(key) ?? 0, fraction.length));
  if (key) decimals.set(key, digits);
  return number.toFixed(digits);
}

export function valueText(value, type, most = 2, key = null) {
  if (value.text === null) return "–";
  if (type === "boolean") return value.text === "1" ? "On" : "Off";
  if (type === "time") return new Date(value.number * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  if (type === "opaque") return `${atob(value.text).length} octets`;
  if (type === "float" && (value.number === 0 || (Math.abs(value.number) < 1e9 && Math.abs(value.number) >= 1e-3)))
    return fixed(value.number, most, key).replace("-", "−");
  if (value.number !== null && value.number !== undefined) return value.text.replace("-", "−");
  return value.text === "" ? "(empty)" : value.text;
}

// The gateway's clock, not the browser's: `skew` is what it is ahead.
let skew = 0;
export const setClock = theirs => { skew = theirs - Date.now() / 1000; };
export const now = () => Date.now() / 1000 + skew;

const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
export const clock = (at, seconds = false) => new Date(at * 1000).toLocaleTimeString([], seconds ? { ...CLOCK, second: "2-digit" } : CLOCK);

export function ago(at) {
  if (!at) return "never";
  const s = Math.max(0, now() - at);
  if (s < 4) return "now";
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} d ago`;
}

export function since(at) {
  const date = at ? new Date(at * 1000) : null;
  return el("time", { class: "ago", "data-at": at || "", datetime: date?.toISOString(), title: date?.toLocaleString() }, ago(at));
}

// A value holds until it changes, but of a device that is away nobody knows.
export const knownUntil = device => device.state === "offline" && device.seen ? Math.min(device.seen, now()) : now();

export const nameOf = device => device.name || device.prefix || device.id;
export const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
export const sentence = text => text.charAt(0).toUpperCase() + text.slice(1);

// --- pictures -----------------------------------------------------------------------------------

export const dot = word => el("span", { class: `dot ${word}`, "aria-hidden": "true" });
export const nothing = () => el("span", { class: "none", "aria-label": "unknown" }, "–");

export function signal(dbm) {
  if (dbm === null) return nothing();
  const bars = dbm >= -60 ? 4 : dbm >= -70 ? 3 : dbm >= -80 ? 2 : 1;
  const image = svg("svg", { class: "bars", viewBox: "0 0 18 13", width: 18, height: 13, "aria-hidden": "true" });
  for (let i = 0; i < 4; i++)
    image.append(svg("rect", { x: 5 * i, y: 9 - 3 * i, width: 3, height: 4 + 3 * i, rx: 1, class: i < bars ? "on" : "off" }));
  return el("span", { class: "signal" }, image, el("span", { class: "figure" }, `${dbm} dBm`.replace("-", "−")));
}

export function battery(percent) {
  if (percent === null) return nothing();
  return el("span", { class: `battery${percent <= 15 ? " low" : ""}` },
    svg("svg", { viewBox: "0 0 24 12", width: 24, height: 12, "aria-hidden": "true" },
      svg("rect", { x: 0.5, y: 0.5, width: 20, height: 11, rx: 3, class: "case" }),
      svg("rect", { x: 22, y: 3.5, width: 2, height: 5, rx: 1, class: "cap" }),
      svg("rect", { x: 2, y: 2, width: Math.max(1, 17 * percent / 100), height: 8, rx: 1.5, class: "charge" })),
    el("span", { class: "figure" }, `${percent} %`));
}
