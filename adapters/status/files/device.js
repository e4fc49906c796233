// One device: its state, one value as a plot, and the object browser, made of the definitions.

import { act, askFor, unlocked } from "./acting.js";
import { $, battery, clock, dot, el, keyed, knownUntil, nameOf, now, put, sentence, signal, since, unitText, valueText } from "./parts.js";
import { plot } from "./plot.js";
import { ask, points } from "./series.js";

const GATEWAY = "gateway";
const FIRST_APPLICATION_OBJECT = 3200; // those below tell of the device, not of what it measures

let selected = null; // the path of the resource that the plot shows

export function renderDevice(state, again) {
  const box = $("device"), device = state.devices.get(state.shows), tree = state.tree;
  if (!device || tree?.id !== state.shows) {
    const gone = state.live && state.told && !device;
    put(box, ["waiting", gone], () => [back(), el("p", { class: "empty" }, gone ? "There is no such device (any more)." : "Loading")]);
    return;
  }
  put(box, device.id, () => {
    selected = null;
    return [back(), el("div", { class: "title" }), el("dl", { class: "facts" }),
      el("figure", { hidden: true }, el("figcaption"), el("div", { class: "canvas" })), el("div", { class: "objects" })];
  });
  const [title, facts, figure, objects] = [".title", ".facts", "figure", ".objects"].map(s => box.querySelector(s));
  document.title = `${titleOf(device)} – Border Gateway`;
  put(title, [titleOf(device), device.state, unlocked()], () => [dot(device.state), el("h1", {}, titleOf(device)),
    unlocked() && device.id !== GATEWAY && el("button", { type: "button", click: () => rename(device) }, "Rename")]);
  put(facts, [device.state, device.reason, device.since, device.seen, device.rssi, device.battery], () => factsOf(device));
  renderObjects(objects, device, tree.objects, again);
  renderPlot(figure, device, tree.objects, again);
}

const back = () => el("a", { class: "back", href: "#/" }, "‹ Devices");
const titleOf = device => device.id === GATEWAY ? "The gateway itself" : nameOf(device);

function factsOf(device) {
  const fact = (name, content, word) => el("div", {}, el("dt", {}, name), el("dd", { class: word }, content));
  if (device.id === GATEWAY) return [fact("Running since", clock(device.since))];
  return [
    fact("State", `${sentence(device.state)}, ${device.reason}`, device.state), fact("Last seen", since(device.seen)),
    device.rssi !== null && fact("Signal", signal(device.rssi)), device.battery !== null && fact("Battery", battery(device.battery)),
    fact("Path", el("code", {}, `/${device.prefix}`)), fact("Identity", el("code", {}, device.id)), fact("Adapter", device.adapter)];
}

function renderObjects(box, device, objects, again) {
  const own = o => Number(o.path.split("/")[1]) < FIRST_APPLICATION_OBJECT;
  keyed(box, [...objects].sort((a, b) => own(a) - own(b)), o => o.path, object => {
    const list = el("tbody");
    const node = el("section", { class: "object" }, el("h3", {}, object.name, el("code", {}, object.path)), el("table", {}, list));
    node.update = o => keyed(list, o.resources, r => r.path, () => resourceRow(device.id, again));
    return node;
  });
}

const isPlotted = r => r.number !== null && r.type !== "time";
const MEANING = { R: "can be read", W: "can be written", E: "can be executed" };

function resourceRow(id, again) {
  const name = el("th", { scope: "row", class: "name" });
  const [value, badges, tools] = ["value", "badges", "tools"].map(c => el("td", { class: c }));
  const row = el("tr", {}, name, value, badges, tools);
  row.update = r => {
    row.classList.toggle("selected", r.path === selected);
    const plotted = isPlotted(r), label = r.name || r.path;
    put(name, [label, plotted], () => [
      plotted ? el("button", { class: "link", type: "button", title: "Plot the last hour", click: () => { selected = r.path; again(); } }, label) : el("span", {}, label),
      " ", el("small", {}, r.path.split("/").slice(3).join("/"))]);
    put(value, [r.text, r.unit, r.restored], () => r.text === null ? [] : [
      el("span", { class: `${plotted ? "number" : "text"}${r.restored ? " old" : ""}`, title: `${r.text}${r.restored ? " (from before the restart)" : ""}` },
        valueText(r, r.type, 4, `${id} ${r.path} 4`)),
      plotted && el("span", { class: "unit" }, unitText(r.unit))]);
    put(badges, [r.operations, r.writable], () => [...r.operations].map(o => {
      const off = o !== "R" && !r.writable;
      const meaning = MEANING[o] + (off ? ", but that is not enabled: see writable in the configuration" : "");
      return el("abbr", { class: off ? "off" : o, title: meaning, "aria-label": meaning }, o);
    }));
    put(tools, r.writable && unlocked(), () => r.writable && unlocked() ? control(id, r) : []);
    tools.querySelector(".switch")?.setAttribute("aria-checked", String(r.text === "1"));
  };
  return row;
}

function control(id, r) {
  const target = { id, path: r.path };
  if (r.operations.includes("E"))
    return el("button", { type: "button", click: () => act("execute", target) }, "Run");
  if (r.type === "boolean")
    return el("button", { type: "button", class: "switch", role: "switch", "aria-label": r.name,
      click: event => act("write", { ...target, text: event.target.getAttribute("aria-checked") === "true" ? "0" : "1" }) });
  return el("button", { type: "button", click: async () => {
    const unit = unitText(r.unit) ? ` ${unitText(r.unit)}` : "";
    const hint = r.range && r.type !== "string" ? `${r.range[0]} to ${r.range[1]}${unit}` : `A value of the type ${r.type}.`;
    const text = await askFor({ title: `Write ${r.name}`, hint, text: r.text ?? "", yes: "Write" });
    if (text !== null) act("write", { ...target, text });
  } }, "Write");
}

async function rename(device) {
  const hint = "Up to 64 characters; nothing gives it back its own name.";
  const name = await askFor({ title: "Name the device", hint, text: device.name, yes: "Name" });
  if (name !== null) act("name", { id: device.id, name });
}

function renderPlot(figure, device, objects, again) {
  const plotted = objects.flatMap(o => o.resources).filter(isPlotted);
  const main = device.id === GATEWAY ? null : plotted.find(r => r.path === device.main?.path) ?? plotted[0];
  const shown = plotted.find(r => r.path === selected) ?? main;
  figure.hidden = !shown;
  if (!shown) return;
  if (shown.path !== selected) { selected = shown.path; again(); }
  const [caption, canvas] = figure.children;
  if (canvas.matches(":hover") && canvas.dataset.path === shown.path) return; // somebody reads it
  ask(device.id, shown.path, again);
  const object = objects.find(o => o.resources.includes(shown)), key = `${device.id} ${shown.path} 4`;
  const tell = point => caption.replaceChildren(
    el("span", { class: "what" }, `${object.name}, ${shown.name}`),
    el("span", { class: "big number" }, valueText(point ? { text: String(point[1]), number: point[1] } : shown, shown.type, 4, key)),
    el("span", { class: "unit" }, unitText(shown.unit)),
    point ? el("time", { class: "muted" }, clock(point[0], true)) : since(shown.at));
  canvas.dataset.path = shown.path;
  tell(null);
  plot(canvas, points(device.id, shown.path), { now: now(), until: knownUntil(device), steps: shown.type === "boolean", label: `${shown.name}, last hour`, read: tell });
}
