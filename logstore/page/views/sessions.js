// Sessions of MQTT clients: what waits for them, what they have subscribed to, and how to end one.

import { ask, path } from "../api.js";
import { danger } from "../dialogs.js";
import { badge, button, dim, h, link, mono, named } from "../dom.js";
import { column, number } from "../list.js";
import { to } from "../router.js";
import { ago, command, counted, grouped, moment, visible } from "../texts.js";

export function sessions(view) {
  const [, client] = view.names;
  if (client !== undefined) {
    subscriptions(view, client);
    return;
  }
  const rows = view.list({
    caption: "MQTT sessions",
    noun: "session",
    path: "mqtt/sessions",
    key: (it) => it.client,
    sort: "client",
    columns: [
      column("client", "Client", (it) => link(to("connections", "sessions", it), named(it))),
      column("user", "User", (it) => (it ? named(it) : dim("nobody"))),
      column("connected", "Connected", (it, row) => (it ? badge("connected") : away(row))),
      column("expires_ms", "Expires", (_, it) => expires(it)),
      number("subscriptions", "Subscriptions", grouped),
      number("ready", "Waiting", (it, row) => (it === null ? dim("?") : waiting(it, row)), { help: "Messages that wait for it" }),
      number("unacked", "Unacknowledged", (it, row) => (row.window ? `${grouped(it)} of ${grouped(row.window)}` : grouped(it)), { help: "Sent, and not acknowledged by it; of how many there may be" }),
      column("", "", (it) => button("End …", () => end(it, rows), { class: "small danger", "aria-label": `End the session of ${visible(it.client)}` })),
    ],
    empty: ["No MQTT client has a session."],
  });
}

const away = (it) => h("span", { title: moment(it.left_ms) }, `left ${ago(it.left_ms)}`);

const waiting = (count, it) => (it.queue ? link(to("queues", "/", it.queue), grouped(count)) : grouped(count));

function expires(it) {
  if (it.connected) return dim(it.expiry_s === 0 ? "with its connection" : "–");
  return it.expires_ms === null ? "never" : h("span", { title: moment(it.expires_ms) }, moment(it.expires_ms));
}

function subscriptions(view, client) {
  view.add(h("h2", null, named(client)));
  view.list({
    caption: "Subscriptions",
    noun: "subscription",
    path: path("mqtt", "sessions", client, "subscriptions"),
    key: (it) => it.filter,
    sort: "filter",
    columns: [
      column("filter", "Filter", (it) => mono(visible(it))),
      number("qos", "QoS", String),
      column("no_local", "No local", (it) => (it ? "yes" : "no"), { sort: false }),
      column("retain_as_published", "Retain as published", (it) => (it ? "yes" : "no"), { sort: false }),
      number("id", "Identifier", (it) => (it === null ? dim("–") : String(it))),
    ],
    empty: ["It has subscribed to nothing."],
  });
}

function end(it, rows) {
  danger({
    verb: "End the session of",
    object: it.client,
    effect: async (signal) => {
      const now = await ask(path("mqtt", "sessions", it.client), { signal });
      return h("p", null, `It loses ${counted(now.subscriptions, "subscription")}, and ${counted(now.ready + now.unacked, "message")} that it has not acknowledged.`,
        now.connected ? " It is cut off at once, and may come back with a new session." : null);
    },
    command: command("logstore", "session", "end", [it.client]),
    act: async () => {
      await ask(path("mqtt", "sessions", it.client), { method: "DELETE" });
      rows.refresh();
      return `Ended the session of ${visible(it.client)}.`;
    },
  });
}
