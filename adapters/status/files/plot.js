// Small plots as SVG: of a line in a table, and of one value in full. Points are [seconds, number].

import { clock, svg } from "./parts.js";

const HOUR = 3600;
const GAP = 660; // seconds without a word, twice as long as an unchanged value takes: it was not known
const SHORTEST = 120; // seconds of the time axis at least, while there is little to show

// A value holds until the next one: yes and no as steps, measurements as a line.
function outline(points, x, y, steps) {
  let path = "";
  points.forEach(([t, v], i) => {
    if (i && steps) path += `H${x(t).toFixed(1)}`;
    path += `${i ? (steps ? "V" : "L") : "M"}`;
    path += i && steps ? y(v).toFixed(1) : `${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
  });
  return path;
}

// The points in pieces, with a break wherever the value was not known for a while.
function pieces(points) {
  const found = [];
  points.forEach((point, i) => {
    if (!i || point[0] - points[i - 1][0] > GAP) found.push([]);
    found[found.length - 1].push(point);
  });
  return found;
}

function extent(points) {
  let low = Infinity, high = -Infinity;
  for (const [, v] of points) { low = Math.min(low, v); high = Math.max(high, v); }
  return [low, high];
}

export function spark(points, { now, until, steps }) {
  const width = 96, height = 24, pad = 2;
  const image = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
  if (!points.length) return image;
  const [low, high] = extent(points), start = Math.max(now - HOUR, points[0][0]);
  const span = Math.max(now - start, 1), end = Math.max(until, points[points.length - 1][0]);
  const x = t => pad + (width - 2 * pad) * (t - start) / span;
  const y = v => high === low ? height / 2 : height - pad - (height - 2 * pad) * (v - low) / (high - low);
  const lines = pieces(points).map(piece => outline(piece, x, y, steps)).join("");
  image.append(svg("path", { d: `${lines}H${x(end).toFixed(1)}`, class: "line" }));
  return image;
}

// Round numbers that a person would write at an axis: at most `count` of them.
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough);
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-9; v += step) found.push(v);
  return [found, Math.max(0, -Math.floor(Math.log10(step) + 1e-9))];
}

// Draws the last hour into `box`; the pointer reads single values, told to `read` (null: none).
export function plot(box, points, { now, until, steps, label, read }) {
  const width = Math.max(280, box.clientWidth), height = steps ? 130 : 190, left = 46, right = 10, top = 10, bottom = 24;
  let [low, high] = points.length ? extent(points) : [0, 1];
  if (steps) [low, high] = [0, 1];
  const slack = (high - low || Math.abs(high) * 0.02 || 1) * 0.08;
  const [bottomValue, topValue] = [low - slack, high + slack];
  const span = Math.min(HOUR, Math.max(SHORTEST, points.length ? now - points[0][0] : 0)), start = now - span;
  const x = t => left + (width - left - right) * (t - start) / span;
  const y = v => top + (height - top - bottom) * (topValue - v) / (topValue - bottomValue);
  const image = svg("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  const [marks, digits] = steps ? [[0, 1], 0] : ticks(bottomValue, topValue, 5);
  for (const v of marks) {
    image.append(svg("line", { x1: left, x2: width - right, y1: y(v), y2: y(v), class: "grid" }));
    image.append(svg("text", { x: left - 8, y: y(v) + 4, class: "axis end" }, steps ? (v ? "On" : "Off") : v.toFixed(digits)));
  }
  const every = [30, 60, 120, 300, 600, 900].find(s => span / s <= width / 110) ?? 900;
  for (let t = Math.ceil(start / every) * every; t <= now; t += every) {
    if (x(t) < left + 16 || x(t) > width - right - 16) continue;
    image.append(svg("text", { x: x(t), y: height - 6, class: "axis middle" }, clock(t, every < 60)));
  }
  if (points.length) {
    const last = points[points.length - 1], lastEnd = Math.max(until, last[0]), floor = height - bottom;
    for (const piece of pieces(points)) {
      const end = piece.includes(last) ? lastEnd : piece[piece.length - 1][0];
      const line = `${outline(piece, x, y, steps)}H${x(end).toFixed(1)}`;
      image.append(svg("path", { d: `${line}V${floor}H${x(piece[0][0]).toFixed(1)}Z`, class: "area" }), svg("path", { d: line, class: "line" }));
    }
    image.append(svg("circle", { cx: x(lastEnd), cy: y(last[1]), r: 3.5, class: "dot" }));
    pointer(image, points, { x, y, left, right: width - right, top, bottom: height - bottom, start, span, read });
  }
  box.replaceChildren(image);
}

function pointer(image, points, g) {
  const hair = svg("g", { class: "hair", visibility: "hidden" },
    svg("line", { y1: g.top, y2: g.bottom }), svg("circle", { r: 4 }));
  image.append(hair);
  image.addEventListener("pointermove", event => {
    const at = event.offsetX * image.viewBox.baseVal.width / image.clientWidth;
    const t = g.start + g.span * (at - g.left) / (g.right - g.left);
    const found = points.findLast(p => p[0] <= t) ?? points[0];
    const px = Math.min(Math.max(g.x(Math.max(t, found[0])), g.left), g.right);
    hair.setAttribute("visibility", "visible");
    hair.firstChild.setAttribute("x1", px); hair.firstChild.setAttribute("x2", px);
    hair.lastChild.setAttribute("cx", px); hair.lastChild.setAttribute("cy", g.y(found[1]));
    g.read(found);
  });
  image.addEventListener("pointerleave", () => { hair.setAttribute("visibility", "hidden"); g.read(null); });
}
