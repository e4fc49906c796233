// A client on xmpp.js: answers one JSON question a line, and tells what events bring.
// Usage: NODE_EXTRA_CA_CERTS=ca.crt node peer.js PORT USER PASSWORD

import { createInterface } from "node:readline";
import { client, xml } from "@xmpp/client";

const [port, username, password] = process.argv.slice(2);
const PUBSUB = "http://jabber.org/protocol/pubsub";
const COMMANDS = "http://jabber.org/protocol/commands";
const FORM = "jabber:x:data";
const service = "pubsub.localhost";

const xmpp = client({
  service: `xmpp://127.0.0.1:${port}`,
  domain: "localhost",
  resource: "xmppjs",
  username,
  password,
});

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const pubsub = (...children) => xml("pubsub", PUBSUB, ...children);
const records = (item) => item.getChild("sensml")?.getChildren("senml").map((r) => r.attrs) ?? [];
const fields = (form) =>
  Object.fromEntries(form.getChildren("field").map((f) => [f.attrs.var, f.getChildText("value")]));

const answers = {
  subscribe: async ({ node }) => {
    const jid = xmpp.jid.bare().toString();
    await xmpp.iqCaller.set(pubsub(xml("subscribe", { node, jid })), service);
    return true;
  },
  items: async ({ node }) => {
    const { children } = (
      await xmpp.iqCaller.get(pubsub(xml("items", { node })), service)
    ).getChild("items");
    return Object.fromEntries(children.map((item) => [item.attrs.id, records(item)]));
  },
  command: async ({ to, node, values }) => {
    const submitted = Object.entries(values).map(([name, value]) =>
      xml("field", { var: name }, xml("value", {}, value)),
    );
    const form = xml("x", { xmlns: FORM, type: "submit" }, ...submitted);
    const asked = xml("command", { xmlns: COMMANDS, node, action: "execute" }, form);
    const done = await xmpp.iqCaller.set(asked, to);
    const table = done.getChild("x", FORM);
    return {
      status: done.attrs.status,
      note: done.getChildText("note"),
      rows: table?.getChildren("item").map(fields) ?? [],
    };
  },
};

xmpp.on("error", (error) => say({ error: String(error) }));
xmpp.on("stanza", (stanza) => {
  const event = stanza.getChild("event", `${PUBSUB}#event`);
  for (const { attrs, children } of event?.getChildren("items") ?? []) {
    for (const item of children) {
      say({ event: item.name, node: attrs.node, id: item.attrs.id, records: records(item) });
    }
  }
});
xmpp.on("online", async () => {
  await xmpp.send(xml("presence"));
  say({ online: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const question = JSON.parse(line);
    try {
      say({ answer: await answers[question.do](question) });
    } catch (error) {
      say({ refused: error.condition ?? String(error) });
    }
  }
  await xmpp.stop();
});
await xmpp.start();
