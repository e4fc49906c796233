// The page: keeps what the gateway tells by server-sent events, and has it drawn.

import { onUnlock, unlocked } from "./acting.js";
import { renderDevice } from "./device.js";
import { addLog, renderHome } from "./home.js";
import { $, ago, dot, el, plural, put, setClock } from "./parts.js";
import { forget, remember } from "./series.js";

const UNSEEN_MS = 60_000;
const REFUSED_MS = 5_000;

const state = {
  live: false,     // whether the stream is there
  told: false,     // whether it has told everything once
  overview: null,
  strangers: { total: 0, latest: [] },
  devices: new Map(),
  shows: null,     // the id of the device that is shown in detail
  tree: null,      // its objects
};

// --- the stream ---------------------------------------------------------------------------------

let source = null;

function connect() {
  source?.close();
  source = new EventSource(`/api/events${state.shows ? `?device=${encodeURIComponent(state.shows)}` : ""}`);
  const opened = source;
  source.onerror = () => {
    state.live = false;
    schedule();
    // A browser comes back by itself after a lost connection, but not after a refusal.
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => { if (source === opened) connect(); }, REFUSED_MS);
  };
  let unseen = new Set();
  const take = {
    reset() {
      if (!state.live) forget();
      Object.assign(state, { live: true, told: false });
      unseen = new Set(state.devices.keys());
      $("log").replaceChildren();
    },
    overview(overview) { state.overview = overview; },
    device(device) {
      state.devices.set(device.id, device);
      unseen.delete(device.id);
      if (device.main) remember(device.id, device.main.path, device.main, device.main.type);
    },
    complete() {
      for (const id of unseen) state.devices.delete(id);
      state.told = true;
    },
    gone({ id }) { state.devices.delete(id); },
    tree(tree) {
      state.tree = tree;
      for (const r of resources(tree)) remember(tree.id, r.path, r, r.type);
    },
    value({ id, path, value }) {
      const found = state.tree?.id === id && resources(state.tree).find(r => r.path === path);
      if (!found || !value) return;
      Object.assign(found, value);
      remember(id, path, value, found.type);
    },
    strangers(strangers) { state.strangers = strangers; },
    log: addLog,
    clock: setClock,
  };
  for (const [name, act] of Object.entries(take))
    source.addEventListener(name, event => {
      act(JSON.parse(event.data));
      schedule();
    });
}

const resources = tree => tree.objects.flatMap(object => object.resources);

// --- drawing ------------------------------------------------------------------------------------

let scheduled = false;
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; render(); });
}

function render() {
  renderFrame();
  $("home").hidden = state.shows !== null;
  $("device").hidden = state.shows === null;
  if (state.shows === null) renderHome(state, schedule); else renderDevice(state, schedule);
}

function renderFrame() {
  document.body.classList.toggle("stale", !state.live);
  put($("health"), health(), () => { const [word, text] = health(); return [dot(word), text]; });
  $("unlock").hidden = !state.overview?.mayAct;
  $("unlock").textContent = unlocked() ? "Lock" : "Unlock";
  const version = state.overview?.version;
  put($("footer"), version, () => version ? [el("span", {}, `border-gateway ${version}`), el("a", { href: "#/device/gateway" }, "The gateway's own objects"),
    el("a", { href: "/healthz/adapters" }, "Health"), el("a", { href: "/metrics" }, "Metrics"), el("a", { href: "/api/devices" }, "JSON")] : []);
}

function health() {
  if (!state.live) return ["unknown", state.overview ? "Connection lost, trying again" : "Connecting"];
  const ill = (state.overview?.adapters ?? []).filter(a => a.state === "failed" || a.state === "degraded").map(a => a.name);
  if (ill.length) return ["offline", `${ill.join(", ")} ${ill.length > 1 ? "need" : "needs"} attention`];
  const devices = [...state.devices.values()].filter(d => d.prefix);
  const away = devices.filter(d => d.state === "offline").length;
  if (away) return ["unknown", `${away} of ${plural(devices.length, "device")} offline`];
  return ["online", devices.length ? `All is well with ${plural(devices.length, "device")}` : "Running"];
}

// --- start --------------------------------------------------------------------------------------

function route() {
  const match = location.hash.match(/^#\/device\/(.+)$/);
  const shows = match ? decodeURIComponent(match[1]) : null, moved = shows !== state.shows;
  state.shows = shows;
  if (!shows) document.title = "Border Gateway";
  if (moved || !source) connect();
  if (moved) { state.tree = null; $("device").dataset.shown = ""; scrollTo(0, 0); $("main").focus({ preventScroll: true }); }
  render();
}

onUnlock(schedule);
addEventListener("hashchange", route);
addEventListener("resize", schedule);
$("search").addEventListener("input", schedule);
// A page that nobody sees needs no stream, and browsers allow six to one server.
let leaving = 0;
addEventListener("visibilitychange", () => {
  clearTimeout(leaving);
  if (document.hidden) leaving = setTimeout(() => { source?.close(); source = null; state.live = false; }, UNSEEN_MS);
  else if (!source) connect();
});
setInterval(() => {
  for (const time of document.querySelectorAll("time.ago")) time.textContent = ago(Number(time.dataset.at));
  schedule();
}, 1000);
route();
