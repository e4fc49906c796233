// Answers each line of JSON on stdin with one line on stdout, as ble-packet sees it:
//   {"parse": uuid, "hex": value}     -> {"fields": {...}} or {"silent": true}
//   {"frame": uuid, "fields": {...}}  -> {"hex": value} or {"error": text}
// Opaque values travel as {"$bytes": hex}, numbers that JSON lacks as {"$float": text}.
'use strict';

const packet = require('ble-packet');

// The parser never calls back for truncated input; a whole one is done within one turn or two.
const PATIENCE_TURNS = 20;

function pack(value) {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString('hex') };
  if (Object.is(value, -0)) return { $float: '-0' };
  if (typeof value === 'number' && !Number.isFinite(value)) return { $float: String(value) };
  return value;
}

function unpack(value) {
  return value !== null && typeof value === 'object' ? Buffer.from(value.$bytes, 'hex') : value;
}

function mapValues(fields, convert) {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, convert(value)]));
}

function parse(uuid, data) {
  return new Promise((resolve) => {
    packet.parse(uuid, data, (error, fields) =>
      resolve(error ? { error: String(error) } : { fields: mapValues(fields, pack) }));
    let turns = 0;
    const wait = () => (++turns < PATIENCE_TURNS ? setImmediate(wait) : resolve({ silent: true }));
    wait();
  });
}

function frame(uuid, fields) {
  try {
    return { hex: packet.frame(uuid, mapValues(fields, unpack)).toString('hex') };
  } catch (error) {
    return { error: String(error) };
  }
}

async function answer(lines) {
  for await (const line of lines) {
    const ask = JSON.parse(line);
    const reply = ask.parse
      ? await parse(ask.parse, Buffer.from(ask.hex, 'hex'))
      : frame(ask.frame, ask.fields);
    process.stdout.write(JSON.stringify(reply) + '\n');
  }
}

answer(require('readline').createInterface({ input: process.stdin }));
