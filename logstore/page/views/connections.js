// Connections of all doors: who they are, what flows, and how to close one.

import { ask, path } from "../api.js";
import { form } from "../dialogs.js";
import { badge, button, dim, h, mono, named } from "../dom.js";
import { column, number, plainTable } from "../list.js";
import { to } from "../router.js";
import { ago, doorName, grouped, moment, size, sizePerSecond, visible } from "../texts.js";
import { sessions } from "./sessions.js";

const DOORS = [["", "all doors"], ["kafka", "kafka"], ["resp", "redis"], ["amqp", "rabbitmq"], ["mqtt", "mqtt"], ["stomp", "stomp"], ["http", "http"]];
const TABS = [["connections", "Connections", to("connections")], ["sessions", "MQTT sessions", to("connections", "sessions")]];

export function show(view) {
  const [word = "connections"] = view.names;
  view.heading(["Connections"]);
  view.tabs(TABS, word);
  if (word === "sessions") sessions(view);
  else connections(view);
}

function connections(view) {
  const door = h("select", { "aria-label": "Door", onchange: () => {
    view.remember({ door: door.value });
    rows.refresh();
  } }, DOORS.map(([value, text]) => h("option", { value, selected: value === (view.query.get("door") ?? "") }, text)));
  const rows = view.list({
    caption: "Connections",
    noun: "connection",
    path: "connections",
    query: () => ({ door: door.value }),
    controls: door,
    key: (it) => String(it.id),
    sort: "-since_ms",
    columns: [
      column("door", "Door", (_, it) => [doorName(it.door), it.tls ? [" ", badge("TLS")] : null]),
      column("peer", "From", (it) => mono(it)),
      column("user", "User", (it) => (it ? named(it) : dim("nobody"))),
      column("client", "Client", (_, it) => [named(it.client || "–"), it.software && dim([" ", named(it.software)])]),
      number("since_ms", "Since", (it) => h("span", { title: moment(it) }, ago(it))),
      number("in_per_s", "In", sizePerSecond, { sort: false }),
      number("out_per_s", "Out", sizePerSecond, { sort: false }),
      number("bytes_in", "Received", size),
      number("bytes_out", "Sent", size),
      number("unsent", "Unsent", (_, it) => (it.unsent ? size(it.unsent) : "0"), { help: "What it has not taken yet" }),
      column("state", "State", (it) => badge(it), { sort: false }),
      column("", "", (it) => button("Close …", () => close(it, rows), { class: "small danger", "aria-label": `Close the connection of ${visible(it.peer)}` })),
    ],
    empty: ["Nobody is connected by this door."],
  });
}

function close(it, rows) {
  form({
    title: `Close the connection from ${visible(it.peer)}?`,
    verb: "Close the connection",
    danger: true,
    about: "It is cut off at once. A client that is built to do so connects again.",
    fields: [{ name: "reason", label: "Reason", value: "closed by an administrator", help: "The client is told, where its protocol can say it." }],
    preview: () => plainTable("Connection", [{ title: "", show: ([term]) => dim(term) }, { title: "", show: ([, text]) => text, wide: true }], [
      ["Door", doorName(it.door)], ["User", it.user ? named(it.user) : "nobody"], ["Client", named(it.client || "–")], ["Software", named(it.software || "–")], ["Since", moment(it.since_ms)],
      ...Object.entries(it.about ?? {}).map(([term, text]) => [term.replaceAll("_", " "), typeof text === "number" ? grouped(text) : visible(typeof text === "string" ? text : JSON.stringify(text))]),
    ]),
    act: async ({ reason }) => {
      await ask(path("connections", it.id), { method: "DELETE", body: { reason } });
      rows.refresh();
      return `Closed the connection from ${visible(it.peer)}.`;
    },
  });
}
