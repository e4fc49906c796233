// The overview: join window, adapters, devices, who is not bridged, the log.

import { act, unlocked } from "./acting.js";
import { $, battery, clock, dot, el, keyed, knownUntil, nameOf, nothing, now, plural, put, sentence, signal, since, unitText, valueText } from "./parts.js";
import { spark } from "./plot.js";
import { ask, points } from "./series.js";

const MOST_ROWS = 300;      // devices in the table at once; the search finds the others
const MOST_LOG_LINES = 300; // as the gateway keeps
const SEARCH_FROM = 12;     // devices from which on a search is of use

export function renderHome(state, again) {
  renderJoin(state.overview?.joinUntil);
  renderAdapters(state.overview?.adapters ?? []);
  renderDevices([...state.devices.values()].filter(d => d.prefix), state.overview?.absent ?? [], again, Boolean(state.overview));
  renderStrangers(state.strangers);
  followLog();
}

function renderJoin(until) {
  const left = until ? Math.max(0, Math.round(until - now())) : 0, open = left > 0, box = $("join");
  box.className = open ? "open" : "";
  put(box, [open, unlocked()], () => open
    ? [dot("online"), el("p", {}, el("strong", {}, "New devices may join"), " for another ", el("span", { id: "countdown", class: "number" })),
      unlocked() && el("button", { type: "button", click: () => act("permit", { seconds: 0 }) }, "Close")]
    : unlocked() ? [el("p", {}, "The join window is closed: only listed devices are bridged."),
      el("button", { type: "button", click: () => act("permit", { seconds: 120 }) }, "Open for 2 minutes")] : []);
  if (open) $("countdown").textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}

export const CONDITIONS = { running: "online", degraded: "offline", failed: "offline", starting: "unknown" };

function renderAdapters(adapters) {
  keyed($("adapters"), adapters, a => a.name, () => {
    const [head, reason, restarts] = [el("div", { class: "adapter-head" }), el("p", { class: "reason" }), el("p", { class: "restarts" })];
    const node = el("li", {}, head, reason, restarts);
    node.update = a => {
      node.className = a.state;
      put(head, [a.name, a.state], () => [dot(CONDITIONS[a.state]), el("strong", {}, a.name), el("span", { class: "state" }, a.state)]);
      put(restarts, a.restarts, () => a.restarts ? plural(a.restarts, "restart") : []);
      const said = sentence(a.reason.replace(/^(failed|running): /, ""));
      put(reason, said, () => said);
      reason.title = said;
    };
    return node;
  });
}

function matches(device) {
  const word = $("search").value.trim().toLowerCase();
  return !word || [device.name, device.prefix, device.id, device.main?.name ?? ""].some(t => t.toLowerCase().includes(word));
}

function renderDevices(all, absent, again, told) {
  $("search").hidden = all.length < SEARCH_FROM;
  const box = $("devices");
  if (!all.length && !absent.length) {
    put(box, ["none", told], () => told ? el("div", { class: "empty" }, el("p", {}, "No devices yet."),
      el("p", { class: "muted" }, "List one in the configuration, or let one join: ", el("code", {}, "border-gateway permit 2min"))) : []);
    return;
  }
  put(box, "table", () => [
    el("table", { class: "devices" },
      el("thead", {}, el("tr", {}, ...["Device", "Value", "Last hour", "Signal", "Battery", "Last seen"].map((title, i) =>
        el("th", { scope: "col", class: ["name", "value", "trend", "radio", "power", "seen"][i] }, title)))),
      el("tbody")),
    el("p", { class: "muted more" })]);
  const found = all.filter(matches).sort((a, b) => nameOf(a).localeCompare(nameOf(b), undefined, { numeric: true }));
  const rows = [...found, ...absent.filter(matches).map(d => ({ ...d, state: "absent" }))];
  const table = box.querySelector("table");
  table.classList.toggle("no-radio", !all.some(d => d.rssi !== null));
  table.classList.toggle("no-power", !all.some(d => d.battery !== null));
  keyed(table.querySelector("tbody"), rows.slice(0, MOST_ROWS), d => d.id, () => deviceRow(again));
  table.hidden = !rows.length;
  const hidden = rows.length - MOST_ROWS;
  put(box.querySelector(".more"), [hidden, rows.length], () =>
    !rows.length ? "No device is called so." : hidden > 0 ? `${hidden} more; search to find them.` : "");
}

function deviceRow(again) {
  const name = el("th", { scope: "row", class: "name" });
  const [value, trend, radio, power, seen] = ["value", "trend", "radio", "power", "seen"].map(c => el("td", { class: c }));
  const row = el("tr", {}, name, value, trend, radio, power, seen);
  row.update = d => {
    row.className = d.state;
    if (d.state === "absent") {
      put(name, d, () => [dot("unknown"), el("span", { class: "who" }, el("strong", {}, nameOf(d)), el("small", {}, d.prefix ? `/${d.prefix}` : d.id))]);
      put(seen, "", () => el("span", { class: "muted" }, "never seen"));
      return;
    }
    put(name, [d.name, d.prefix, d.state, d.reason], () => [dot(d.state), el("span", { class: "who" },
      el("a", { href: `#/device/${encodeURIComponent(d.id)}`, "aria-label": `${nameOf(d)}, ${d.state}` }, nameOf(d)),
      el("small", {}, `/${d.prefix}`, d.state !== "online" && el("span", { class: "why" }, ` · ${d.state}, ${d.reason}`)))]);
    put(seen, d.seen, () => since(d.seen));
    put(radio, d.rssi, () => signal(d.rssi));
    put(power, d.battery, () => battery(d.battery));
    const main = d.main;
    put(value, main, () => main ? [
      el("span", { class: `number${main.restored ? " old" : ""}`, title: `${main.name} ${main.path}${main.restored ? ", from before the restart" : ""}` },
        valueText(main, main.type, 2, `${d.id} ${main.path}`)),
      el("span", { class: "unit" }, unitText(main.unit))] : nothing());
    if (!main || main.number === null) return;
    ask(d.id, main.path, again);
    const line = points(d.id, main.path);
    put(trend, [line.length, line[line.length - 1]?.[0], Math.floor(now() / 30), d.state],
      () => spark(line, { now: now(), until: knownUntil(d), steps: main.type === "boolean" }));
  };
  return row;
}

function renderStrangers({ total, latest }) {
  $("strangers-section").hidden = !total;
  $("strangers-title").textContent = `Seen, but not bridged${total > latest.length ? ` (the latest ${latest.length} of ${total})` : ""}`;
  keyed($("strangers"), latest, s => s.id, () => {
    const node = el("li");
    node.update = s => put(node, s, () => [
      el("span", { class: "who" }, el("strong", {}, s.name || s.id), el("small", {}, s.name ? s.id : s.adapter)),
      since(s.at), el("span", { class: "reason" }, s.reason), s.rssi !== null && signal(s.rssi)]);
    return node;
  });
}

// The log shows its end until somebody scrolls away from it, also where its lines break anew.
let follows = true;
$("log").addEventListener("scroll", ({ target: box }) => { follows = box.scrollHeight - box.scrollTop - box.clientHeight < 8; });
const followLog = () => { if (follows) $("log").scrollTop = $("log").scrollHeight; };

export function addLog(lines) {
  const box = $("log");
  for (const line of lines) {
    // An adapter's status line begins with its name: that says more than the module which wrote it.
    const [, module, text] = line.module === "gateway.slots" && line.text.match(/^(\w+): (.*)$/) || ["", line.module.replace(/^(adapters|gateway)\./, ""), line.text];
    const loud = line.level === "info" || line.level === "debug" ? null : el("b", {}, line.level);
    box.append(el("div", { class: line.level }, el("time", {}, clock(line.at, true)),
      el("span", { class: "module" }, module), el("span", { class: "text" }, loud, text)));
  }
  while (box.children.length > MOST_LOG_LINES) box.firstChild.remove();
  followLog();
}
