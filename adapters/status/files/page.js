// The page: keeps what the gateway tells (server-sent events) and shows it. Text from devices only
// ever becomes text nodes, never markup.

import { HOUR, plot, spark, svg } from "./plot.js";

const MOST_ROWS = 300;      // devices in the table at once; the search finds the others
const MOST_LOG_LINES = 300; // as the gateway keeps
const SEARCH_FROM = 12;     // devices from which on a search is of use
const $ = id => document.getElementById(id);

const state = {
  skew: 0, live: false, overview: null, strangers: { total: 0, latest: [] },
  devices: new Map(), tree: null, shows: null, selected: null, token: sessionStorage.getItem("token") ?? "",
};
const series = new Map(); // "id path" -> [[seconds, number], ...] of the last hour
const now = () => Date.now() / 1000 + state.skew;

// --- small things -------------------------------------------------------------------------------

function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [type, act] of Object.entries(value)) node.addEventListener(type, act);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter(child => child !== null && child !== undefined && child !== false));
  return node;
}

const UNITS = { Cel: "°C", C: "°C", F: "°F", "/100": "%", "%RH": "%", deg: "°", lux: "lx", "m/s2": "m/s²" };
const unitText = unit => UNITS[unit] ?? unit;

function valueText(value, type, digits = 2) {
  if (value.text === null) return "—";
  if (type === "boolean") return value.text === "1" ? "On" : "Off";
  if (type === "time") return new Date(value.number * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  if (type === "float" && Math.abs(value.number) < 1e9 && Math.abs(value.number) >= 1e-3)
    return new Intl.NumberFormat(undefined, { maximumFractionDigits: digits, useGrouping: false }).format(value.number);
  return value.text === "" ? "(empty)" : value.text;
}

function ago(at) {
  if (!at) return "never";
  const s = Math.max(0, now() - at);
  if (s < 3) return "now";
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} d ago`;
}
const since = at => el("time", { class: "ago", "data-at": at ?? "", datetime: at ? new Date(at * 1000).toISOString() : null, title: at ? new Date(at * 1000).toLocaleString() : null }, ago(at));
const dot = word => el("span", { class: `dot ${word}`, "aria-hidden": "true" });
const nameOf = device => device.name || device.prefix || device.id;
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;

function signal(dbm) {
  if (dbm === null) return el("span", { class: "none" }, "—");
  const bars = dbm >= -60 ? 4 : dbm >= -70 ? 3 : dbm >= -80 ? 2 : 1;
  const image = svg("svg", { class: "bars", viewBox: "0 0 18 14", width: 18, height: 14, "aria-hidden": "true" });
  for (let i = 0; i < 4; i++)
    image.append(svg("rect", { x: 5 * i, y: 10 - 3 * i, width: 3, height: 4 + 3 * i, rx: 1, class: i < bars ? "on" : "off" }));
  return el("span", { class: "signal" }, image, `${dbm} dBm`);
}

function battery(percent) {
  if (percent === null) return el("span", { class: "none" }, "—");
  return el("span", { class: `battery${percent <= 15 ? " low" : ""}` },
    svg("svg", { viewBox: "0 0 24 12", width: 24, height: 12, "aria-hidden": "true" },
      svg("rect", { x: .5, y: .5, width: 20, height: 11, rx: 3, class: "case" }),
      svg("rect", { x: 22, y: 3.5, width: 2, height: 5, rx: 1, class: "cap" }),
      svg("rect", { x: 2, y: 2, width: Math.max(1, 17 * percent / 100), height: 8, rx: 1.5, class: "charge" })),
    `${percent} %`);
}

function remember(id, path, value) {
  if (value.number === null || value.restored) return;
  const key = `${id} ${path}`, points = series.get(key) ?? [];
  const last = points[points.length - 1];
  if (last && value.at <= last[0]) return;
  points.push([value.at, value.number]);
  while (points.length && points[0][0] < now() - HOUR) points.shift();
  series.set(key, points);
}
const pointsOf = (id, path) => series.get(`${id} ${path}`) ?? [];

// --- the gateway's words ------------------------------------------------------------------------

let source = null;
function connect() {
  source?.close();
  source = new EventSource(`/api/events${state.shows ? `?device=${encodeURIComponent(state.shows)}` : ""}`);
  const on = (name, take) => source.addEventListener(name, event => {
    const { now: theirs, of } = JSON.parse(event.data);
    if (theirs) state.skew = theirs - Date.now() / 1000;
    take(of);
    schedule();
  });
  on("reset", () => { state.live = true; state.stale = new Set(state.devices.keys()); $("log").replaceChildren(); });
  on("overview", overview => {
    state.overview = overview;
  });
  on("device", device => {
    state.devices.set(device.id, device);
    state.stale?.delete(device.id);
    if (device.main) remember(device.id, device.main.path, device.main);
  });
  on("gone", ({ id }) => { state.devices.delete(id); if (id === state.tree?.id) state.tree = null; });
  on("strangers", strangers => {
    for (const id of state.stale ?? []) state.devices.delete(id); // all that there are have been told
    state.stale = null;
    state.strangers = strangers;
  });
  on("tree", tree => {
    state.tree = tree;
    for (const object of tree.objects) for (const r of object.resources) remember(tree.id, r.path, r);
  });
  on("value", ({ id, path, value }) => {
    const found = state.tree?.id === id && state.tree.objects.flatMap(o => o.resources).find(r => r.path === path);
    if (!found || !value) return;
    Object.assign(found, value);
    remember(id, path, value);
  });
  on("log", addLog);
  source.onerror = () => { state.live = false; schedule(); };
}

let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; render(); });
}

// --- drawing ------------------------------------------------------------------------------------

// Replaces the content of a node only when what it shows has changed: focus and selection stay.
function put(node, shown, make) {
  const key = JSON.stringify(shown);
  if (node.dataset.shown === key) return;
  node.dataset.shown = key;
  const made = make();
  node.replaceChildren(...(Array.isArray(made) ? made : [made]));
}

// Brings the children of a node in line with items, each made once by its key and then updated.
function keyed(parent, items, keyOf, make) {
  const before = new Map([...parent.children].map(node => [node.dataset.key, node]));
  let place = null;
  for (const item of items) {
    const key = keyOf(item);
    let node = before.get(key);
    if (!node) { node = make(item); node.dataset.key = key; }
    before.delete(key);
    const next = place ? place.nextSibling : parent.firstChild;
    if (node !== next) parent.insertBefore(node, next);
    node.update(item);
    place = node;
  }
  for (const node of before.values()) node.remove();
}

function render() {
  renderHeader();
  $("home").hidden = state.shows !== null;
  $("device").hidden = state.shows === null;
  if (state.shows === null) {
    renderJoin(); renderAdapters(); renderDevices(); renderStrangers();
  } else renderDevice();
}

const bridged = () => [...state.devices.values()].filter(d => d.prefix);

function renderHeader() {
  document.body.classList.toggle("stale", !state.live);
  const ill = (state.overview?.adapters ?? []).filter(a => a.state === "failed" || a.state === "degraded");
  const devices = bridged(), away = devices.filter(d => d.state === "offline").length;
  let word = "online", text = devices.length ? `${plural(devices.length, "device")}, all is well` : "Running";
  if (away) { word = "unknown"; text = `${away} of ${plural(devices.length, "device")} offline`; }
  if (ill.length) { word = "offline"; text = `${ill.map(a => a.name).join(", ")} ${ill.length > 1 ? "need" : "needs"} attention`; }
  if (!state.live) { word = "unknown"; text = state.overview ? "Connection lost, trying again" : "Connecting"; }
  put($("health"), [word, text], () => [dot(word), text]);
  $("unlock").hidden = !state.overview?.mayAct;
  $("unlock").textContent = state.token ? "Lock" : "Unlock";
  put($("footer"), state.overview?.version, () => state.overview ? [
    el("span", {}, `border-gateway ${state.overview.version}`), el("a", { href: "/healthz/adapters" }, "Health"),
    el("a", { href: "/metrics" }, "Metrics"), el("a", { href: "/api/devices" }, "JSON"),
    el("a", { href: "#/device/gateway" }, "The gateway's own objects")] : []);
}

function renderJoin() {
  const until = state.overview?.joinUntil, left = until ? Math.max(0, Math.round(until - now())) : 0;
  const box = $("join"), open = left > 0;
  box.className = open ? "open" : "";
  put(box, [open, Boolean(state.token)], () => open
    ? [dot("online"), el("p", {}, el("strong", {}, "New devices may join"), " for another ", el("span", { id: "countdown", class: "number" })),
      state.token && el("button", { type: "button", on: { click: () => act("permit", { seconds: 0 }) } }, "Close")].filter(Boolean)
    : state.token ? [el("p", {}, "The join window is closed; only listed devices are bridged."),
      el("button", { type: "button", on: { click: () => act("permit", { seconds: 120 }) } }, "Open for 2 minutes")] : []);
  if (open) $("countdown").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}

const CONDITIONS = { running: "online", degraded: "offline", failed: "offline", starting: "unknown" };
function renderAdapters() {
  keyed($("adapters"), state.overview?.adapters ?? [], a => a.name, () => {
    const [head, reason] = [el("div", { class: "adapter-head" }), el("p", { class: "reason" })];
    const node = el("li", {}, head, reason);
    node.update = a => {
      node.className = a.state;
      put(head, [a.name, a.state, a.restarts], () => [dot(CONDITIONS[a.state]), el("strong", {}, a.name), el("span", { class: "state" }, a.state),
        a.restarts ? el("span", { class: "muted" }, plural(a.restarts, "restart")) : null].filter(Boolean));
      put(reason, a.reason, () => a.reason);
    };
    return node;
  });
}

function wanted(device) {
  const word = $("search").value.trim().toLowerCase();
  return !word || [device.name, device.prefix, device.id, device.main?.name ?? ""].some(t => t.toLowerCase().includes(word));
}

function renderDevices() {
  const all = bridged(), absent = state.overview?.absent ?? [];
  $("search").hidden = all.length < SEARCH_FROM;
  const box = $("devices");
  if (!all.length && !absent.length) {
    put(box, "none", () => el("div", { class: "empty" }, el("p", {}, "No devices yet."),
      el("p", { class: "muted" }, "List one in the configuration, or open the join window: ", el("code", {}, "border-gateway permit 2min"))));
    return;
  }
  if (!box.querySelector("table")) {
    box.dataset.shown = "table";
    box.replaceChildren(el("table", { class: "devices" },
      el("thead", {}, el("tr", {}, ...["Device", "Value", "Last hour", "Signal", "Battery", "Last seen"].map((t, i) => el("th", { scope: "col", class: ["", "value", "trend", "", "", "seen"][i] }, t)))),
      el("tbody")), el("p", { class: "muted more" }));
  }
  const found = all.filter(wanted).sort((a, b) => nameOf(a).localeCompare(nameOf(b), undefined, { numeric: true }));
  const rows = [...found.slice(0, MOST_ROWS), ...absent.filter(wanted).slice(0, MOST_ROWS).map(d => ({ ...d, state: "absent" }))];
  keyed(box.querySelector("tbody"), rows, d => d.id, deviceRow);
  const hidden = found.length - Math.min(found.length, MOST_ROWS);
  put(box.querySelector(".more"), [hidden, rows.length], () =>
    !rows.length ? "No device has that in its name." : hidden ? `${hidden} more; search to find them.` : "");
}

function deviceRow() {
  const cells = ["name", "value", "trend", "radio", "power", "seen"].map(name => el("td", { class: name }));
  const [name, value, trend, radio, power, seen] = cells;
  const row = el("tr", {}, ...cells);
  row.update = d => {
    row.className = d.state;
    if (d.state === "absent") {
      put(name, d, () => [dot("unknown"), el("span", { class: "who" }, el("strong", {}, nameOf(d)), el("small", {}, d.prefix ? `/${d.prefix}` : d.id))]);
      put(value, "", () => []);
      put(seen, "", () => el("span", { class: "muted" }, "listed, never seen"));
      return;
    }
    put(name, [d.name, d.prefix, d.state, d.reason], () => [dot(d.state), el("span", { class: "who" },
      el("a", { href: `#/device/${encodeURIComponent(d.id)}`, "aria-label": `${nameOf(d)}, ${d.state}` }, nameOf(d)),
      el("small", {}, `/${d.prefix}`, d.state === "online" ? null : el("span", { class: "why" }, ` · ${d.state}: ${d.reason}`)))]);
    put(value, [d.main?.text, d.main?.unit, d.main?.restored], () => d.main ? [
      el("span", { class: `number${d.main.restored ? " old" : ""}`, title: `${d.main.name} ${d.main.path}${d.main.restored ? ", from before the restart" : ""}` }, valueText(d.main, d.main.type)),
      el("span", { class: "unit" }, unitText(d.main.unit))] : el("span", { class: "none" }, "—"));
    const points = d.main ? pointsOf(d.id, d.main.path) : [];
    put(trend, [points.length, points[points.length - 1]?.[0], Math.floor(now() / 30)], () => spark(points, now(), d.main?.type === "boolean"));
    put(radio, d.rssi, () => signal(d.rssi));
    put(power, d.battery, () => battery(d.battery));
    put(seen, d.seen, () => since(d.seen));
  };
  return row;
}

function renderStrangers() {
  const { total, latest } = state.strangers;
  $("strangers-section").hidden = !total;
  $("strangers-title").textContent = `Seen, but not bridged (${total})`;
  keyed($("strangers"), latest, s => s.id, () => {
    const node = el("li");
    node.update = s => put(node, s, () => [
      el("span", { class: "who" }, el("strong", {}, s.name || s.id), el("small", {}, `${s.name ? s.id : s.adapter}`)),
      el("span", { class: "reason" }, s.reason), s.rssi === null ? "" : signal(s.rssi), since(s.at)]);
    return node;
  });
}

function addLog(lines) {
  const box = $("log"), atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 8;
  for (const line of lines) {
    const module = line.module.replace(/^(adapters|gateway)\./, "");
    box.append(el("div", { class: line.level },
      el("time", {}, new Date(line.at * 1000).toLocaleTimeString([], { hour12: false })), el("b", {}, line.level === "info" ? "" : line.level),
      el("span", { class: "module" }, module), el("span", { class: "text" }, line.text)));
  }
  while (box.children.length > MOST_LOG_LINES) box.firstChild.remove();
  if (atEnd) box.scrollTop = box.scrollHeight;
}

// --- one device ---------------------------------------------------------------------------------

function renderDevice() {
  const box = $("device"), device = state.devices.get(state.shows);
  const gateway = state.shows === "gateway";
  if (!device || state.tree?.id !== state.shows) {
    const gone = state.live && !state.stale && !device;
    put(box, ["waiting", gone], () => [back(), el("p", { class: "empty" }, gone ? "There is no such device (any more)." : "Loading")]);
    return;
  }
  if (box.dataset.shown !== device.id) {
    box.dataset.shown = device.id;
    box.replaceChildren(back(), el("div", { class: "title" }), el("dl", { class: "facts" }),
      el("figure", { hidden: true }, el("figcaption"), el("div", { class: "canvas" })), el("div", { class: "objects" }));
    state.selected = null;
  }
  const [title, facts, figure, objects] = [".title", ".facts", "figure", ".objects"].map(s => box.querySelector(s));
  document.title = `${gateway ? "The gateway" : nameOf(device)} – Border Gateway`;
  put(title, [device.name, device.state, Boolean(state.token)], () => [dot(device.state), el("h1", {}, gateway ? "The gateway itself" : nameOf(device)),
    state.token && !gateway ? el("button", { type: "button", on: { click: () => rename(device) } }, "Rename") : null].filter(Boolean));
  put(facts, [device.state, device.reason, device.seen, device.rssi, device.battery], () => [
    ...fact("State", `${device.state}, ${device.reason}`, device.state), ...(gateway ? [] : [
      ...fact("Last seen", since(device.seen)), ...fact("Signal", signal(device.rssi)), ...fact("Battery", battery(device.battery)),
      ...fact("Path", el("code", {}, `/${device.prefix}`)), ...fact("Identity", el("code", {}, device.id)), ...fact("Adapter", device.adapter)])]);
  renderObjects(objects, device);
  renderPlot(figure, device);
}

const back = () => el("a", { class: "back", href: "#/" }, "‹ Devices");
const fact = (name, content, word) => [el("div", {}, el("dt", {}, name), el("dd", { class: word }, content))];
const resources = () => state.tree.objects.flatMap(object => object.resources);

function renderObjects(box, device) {
  keyed(box, state.tree.objects, o => o.path, object => {
    const list = el("tbody");
    const node = el("section", { class: "object" }, el("h3", {}, object.name, el("code", {}, object.path)), el("table", {}, list));
    node.update = o => keyed(list, o.resources, r => r.path, () => resourceRow(device));
    return node;
  });
}

const MEANING = { R: "can be read", W: "can be written", E: "can be executed" };
function resourceRow(device) {
  const [name, value, badges, tools] = ["name", "value", "badges", "tools"].map(c => el("td", { class: c }));
  const row = el("tr", {}, name, value, badges, tools);
  row.update = r => {
    row.classList.toggle("selected", r.path === state.selected);
    const plotted = r.number !== null && r.type !== "time";
    put(name, [r.name, plotted], () => [plotted
      ? el("button", { class: "link", type: "button", on: { click: () => { state.selected = r.path; schedule(); } } }, r.name || r.path)
      : el("span", {}, r.name || r.path), el("small", {}, r.path.split("/").slice(3).join("/"))]);
    put(value, [r.text, r.unit, r.restored], () => r.text === null ? "" : [
      el("span", { class: `${plotted ? "number" : "text"}${r.restored ? " old" : ""}`, title: `${r.text}${r.restored ? " (from before the restart)" : ""}` },
        r.type === "opaque" ? `${atob(r.text).length} octets` : valueText(r, r.type, 4)), el("span", { class: "unit" }, plotted ? unitText(r.unit) : "")]);
    put(badges, [r.operations, r.writable], () => [...r.operations].map(o => {
      const off = o !== "R" && !r.writable;
      const meaning = MEANING[o] + (off ? ", but is not enabled: see writable in the configuration" : "");
      return el("abbr", { class: off ? "off" : o, title: meaning, "aria-label": meaning }, o);
    }));
    put(tools, [r.operations, r.writable, r.type, Boolean(state.token), r.type === "boolean" ? r.text : ""], () =>
      r.writable && state.token ? controls(device, r) : []);
  };
  return row;
}

function controls(device, r) {
  const target = { id: device.id, path: r.path };
  if (r.operations.includes("E"))
    return el("button", { type: "button", on: { click: () => act("execute", target) } }, "Run");
  if (r.type === "boolean")
    return el("button", { type: "button", class: "switch", role: "switch", "aria-checked": String(r.text === "1"), "aria-label": r.name,
      on: { click: () => act("write", { ...target, text: r.text === "1" ? "0" : "1" }) } });
  return el("button", { type: "button", on: { click: async () => {
    const [low, high] = r.range ?? [];
    const hint = r.range && r.type !== "string" ? `${low} to ${high}${unitText(r.unit) ? ` ${unitText(r.unit)}` : ""}` : `A value of type ${r.type}`;
    const text = await asked(`Write ${r.name}`, hint, r.text ?? "");
    if (text !== null) act("write", { ...target, text });
  } } }, "Write");
}

async function rename(device) {
  const name = await asked("Name the device", "Up to 64 characters; nothing gives it back its own name.", device.name);
  if (name !== null) act("name", { id: device.id, name });
}

function renderPlot(figure, device) {
  const plotted = resources().filter(r => r.number !== null && r.type !== "time");
  const main = plotted.find(r => r.path === device.main?.path) ?? plotted[0];
  const shown = plotted.find(r => r.path === state.selected) ?? (device.id === "gateway" ? null : main);
  figure.hidden = !shown;
  if (!shown) return;
  state.selected = shown.path;
  const points = pointsOf(device.id, shown.path), object = state.tree.objects.find(o => o.resources.includes(shown));
  const [caption, canvas] = figure.children;
  const tell = point => {
    const value = point ? { text: String(point[1]), number: point[1] } : shown;
    caption.replaceChildren(el("span", { class: "what" }, `${object.name}, ${shown.name}`),
      el("span", { class: "big number" }, valueText(value, shown.type)), el("span", { class: "unit" }, unitText(shown.unit)),
      point ? el("time", { class: "muted" }, new Date(point[0] * 1000).toLocaleTimeString()) : since(shown.at));
  };
  if (canvas.matches(":hover") && canvas.dataset.path === shown.path) return; // it is being read
  canvas.dataset.path = shown.path;
  tell(null);
  plot(canvas, points, { now: now(), steps: shown.type === "boolean", label: `${shown.name}, last hour`, read: tell });
}

// --- acting -------------------------------------------------------------------------------------

async function act(what, content) {
  try {
    const answer = await fetch(`/api/${what}`, {
      method: "POST", body: JSON.stringify(content), cache: "no-store",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${state.token}` },
    });
    const told = await answer.json();
    if (answer.status === 401) setToken("");
    if (!answer.ok) throw new Error(told.error);
    if (told.confirmed === false) toast("Sent; the device has not shown the new state yet.");
  } catch (error) {
    toast(error.message);
  }
}

let toastTimer = 0;
function toast(text) {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 6000);
}

// Asks for one text; null where the person does not want to.
function asked(title, hint, text, type = "text") {
  const dialog = $("ask"), input = $("ask-input");
  $("ask-title").textContent = title;
  $("ask-hint").textContent = hint;
  input.type = type;
  input.value = text;
  dialog.returnValue = "";
  dialog.showModal();
  input.select();
  return new Promise(done => dialog.addEventListener("close", () => done(dialog.returnValue === "ok" ? input.value : null), { once: true }));
}

function setToken(token) {
  state.token = token;
  if (token) sessionStorage.setItem("token", token); else sessionStorage.removeItem("token");
  schedule();
}

// --- start --------------------------------------------------------------------------------------

function route() {
  const match = location.hash.match(/^#\/device\/(.+)$/);
  const shows = match ? decodeURIComponent(match[1]) : null;
  const moved = shows !== state.shows;
  state.shows = shows;
  if (!shows) { state.tree = null; $("device").dataset.shown = ""; document.title = "Border Gateway"; }
  if (moved || !source) connect();
  if (moved) { scrollTo(0, 0); $("main").focus({ preventScroll: true }); }
  render();
}

addEventListener("hashchange", route);
addEventListener("resize", schedule);
$("search").addEventListener("input", schedule);
$("ask-ok").addEventListener("click", () => $("ask").close("ok"));
$("ask-cancel").addEventListener("click", () => $("ask").close(""));
$("ask-input").addEventListener("keydown", event => { if (event.key === "Enter") $("ask").close("ok"); });
$("unlock").addEventListener("click", async () => {
  if (state.token) return setToken("");
  const token = await asked("Unlock", "The token of [status] token_file lets this tab open the join window, name devices, and write where writing is enabled.", "", "password");
  if (token) setToken(token.trim());
});
setInterval(() => {
  for (const time of document.querySelectorAll("time.ago")) time.textContent = ago(Number(time.dataset.at));
  schedule();
}, 1000);
route();
