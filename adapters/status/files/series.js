// The last hour of each value: what was seen live, and before that what the journal has.

import { now } from "./parts.js";

const HOUR = 3600;
const AGAIN_MS = 30_000; // after an answer that did not come
const APART = 5; // seconds between the points of a measurement: two pixels of the widest plot

const known = new Map(); // "id path" -> [[seconds, number], ...]
const asked = new Set();
const waiting = [];
let asking = false;

const keyOf = (id, path) => `${id} ${path}`;
export const points = (id, path) => known.get(keyOf(id, path)) ?? [];

export function remember(id, path, value, type) {
  if (value.number === null || value.at === null || value.restored) return;
  const key = keyOf(id, path), line = known.get(key) ?? [];
  known.set(key, line);
  const [before, last] = [line[line.length - 2], line[line.length - 1]];
  if (last && value.at <= last[0]) return;
  if (type !== "boolean" && before && value.at - before[0] < APART) line.pop();
  line.push([value.at, value.number]);
  while (line.length && line[0][0] < now() - HOUR) line.shift();
}

// Has the journal asked, once a value and one at a time; `then` is called when it has answered.
export function ask(id, path, then) {
  const key = keyOf(id, path);
  if (asked.has(key)) return;
  asked.add(key);
  waiting.push({ id, path, key, then });
  if (!asking) next();
}

async function next() {
  asking = true;
  while (waiting.length) {
    const { id, path, key, then } = waiting.shift();
    try {
      const answer = await fetch(`/api/history/${encodeURIComponent(id)}?path=${path}`);
      if (!answer.ok) throw new Error(answer.statusText);
      const told = (await answer.json()).points, live = known.get(key) ?? [];
      const first = live.length ? live[0][0] : Infinity;
      known.set(key, [...told.filter(([at]) => at < first), ...live]);
      then();
    } catch {
      setTimeout(() => asked.delete(key), AGAIN_MS); // then asked again, if it is still shown
    }
  }
  asking = false;
}

// After a lost connection there is a gap that the journal can fill.
export function forget() {
  known.clear();
  asked.clear();
}
