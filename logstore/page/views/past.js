// The past of a queue: all of its messages that are on disk, also those that are settled.

import { ask, path } from "../api.js";
import { form } from "../dialogs.js";
import { aside, badge, button, commandLine, dim, h, link, named } from "../dom.js";
import { column, number, plainTable } from "../list.js";
import { go, to } from "../router.js";
import { ago, command, counted, moment, size, visible } from "../texts.js";
import { content, inShort } from "./messages.js";
import { inVhost } from "./vhosts.js";

const SHOWN = 50;
const STATES = [["all", "all"], ["settled", "settled: done with"], ["unsettled", "not settled"], ["ready", "ready"], ["out", "out: a consumer has them"]];

export function show(view, vhost, queue) {
  const only = view.query.get("only") ?? "all";
  const on = view.query.get("on") ?? "";
  const first = to("queues", vhost, queue, "past", { only });
  const choose = h("select", { "aria-label": "Which messages", onchange: (event) => go(to("queues", vhost, queue, "past", { only: event.target.value })) },
    STATES.map(([word, title]) => h("option", { value: word, selected: word === only }, title)));
  view.part({
    path: path("queues", queue, "history"),
    query: () => ({ vhost, limit: SHOWN, order: "time", only, ...(on ? { on } : {}) }),
    title: "In the order in which they were published",
    act: h("span", { class: "actions" }, choose, aside("Looking takes nothing."), button("Replay …", () => replay(vhost, queue, only), { class: "small" })),
    show: (told) => [
      on ? link(first, "‹ from the first one") : null,
      told.items.length ? table(told.items, vhost, queue) : h("p", null, on && told.on !== null ? "None of these is meant." : "No such message is on disk. What is done with stays for an hour, unless the queue says x-retention-ms."),
      told.damaged.map((it) => h("p", { class: "error" }, visible(it))),
      told.on === null ? null : link(to("queues", vhost, queue, "past", { only, on: told.on }), `the next ${SHOWN} ›`),
      aside("The same on the command line"),
      commandLine(command("logstore", "queue", "replay", [queue], "--only", only === "all" || only === "settled" ? only : "unsettled", ...inVhost(vhost))),
    ],
  });
}

const table = (items, vhost, queue) => plainTable("Messages", [
  column("position", "Message", (it) => link(to("queues", vhost, queue, "past", it), visible(it))),
  column("state", "State", (it) => badge(it, it === "out" ? "warn" : "")),
  column("time_ms", "Published", (it) => h("span", { title: moment(it) }, ago(it))),
  column("", "By", (it) => [it.exchange === "" ? dim("default") : named(it.exchange), " ", h("bdi", { class: "mono" }, visible(it.key))]),
  column("properties", "Properties", (it) => dim(inShort(it))),
  number("body_bytes", "Size", size),
  column("body", "Body", (it) => content(it), { wide: true }),
], items, { key: (it) => it.position });

function replay(vhost, queue, only) {
  const given = (it, more) => ({ into: `${it.kind}:${it.name}`, only: it.only, ...(it.key === "" || it.kind === "queue" ? {} : { key: it.key }), ...more });
  const step = (it, more, signal) => ask(path("queues", queue, "replay"), { method: "POST", query: { vhost }, body: given(it, more), signal });
  form({
    title: `Replay messages of ${visible(queue)}`,
    verb: "Replay",
    about: "They are published again, as new messages, and stay where they are.",
    danger: true,
    fields: [
      { name: "kind", label: "Into", type: "select", value: "exchange", options: [["exchange", "an exchange"], ["queue", "a queue"], ["topic", "a topic"]] },
      { name: "name", label: "Name", given: { maxlength: 255 } },
      { name: "key", label: "Routing key", given: { maxlength: 255 }, help: "Empty: each message keeps its own." },
      { name: "only", label: "Those that are", type: "select", value: only === "all" || only === "settled" ? only : "unsettled", options: STATES.slice(0, 3) },
    ],
    command: (it) => command("logstore", "queue", "replay", [queue], "--into", `${it.kind}:${it.name}`, "--only", it.only, ...(it.key ? ["--key", it.key] : []), ...inVhost(vhost)),
    act: async (it) => {
      let done = 0;
      let unrouted = 0;
      for (let told = { on: "" }; told.on !== null;) {
        told = await step(it, told.on === "" ? {} : { on: told.on });
        done += told.replayed;
        unrouted += told.unrouted;
        if (told.error !== null) throw new Error(`${told.error}; ${counted(done, "message")} replayed`);
      }
      return `Replayed ${counted(done, "message")} of queue ${visible(queue)}${unrouted ? `; ${counted(unrouted, "message")} went to no queue` : ""}.`;
    },
  });
}
