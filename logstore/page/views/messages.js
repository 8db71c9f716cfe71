// The messages of a queue, looked at and not taken; and some of them fetched, if somebody wants that.

import { ask, path } from "../api.js";
import { form } from "../dialogs.js";
import { aside, badge, button, commandLine, dim, h, link, named, put } from "../dom.js";
import { column, number, plainTable } from "../list.js";
import { to } from "../router.js";
import { ago, command, counted, grouped, moment, size, visible } from "../texts.js";
import { inVhost } from "./vhosts.js";

const SHOWN = 50;
const THEN = [["requeue", "are put back, and count as given out once"], ["ack", "are done with"],
  ["reject-requeue", "are rejected, and put back"], ["reject", "are rejected: they go to the dead letters, if there are any"]];

export function show(view, vhost, queue) {
  const begin = view.query.get("from") ?? "";
  const part = view.part({
    path: path("queues", queue, "messages"),
    query: () => ({ vhost, limit: SHOWN, from: begin }),
    title: "In the order in which they would be given out",
    act: h("span", { class: "actions" }, aside("Looking takes nothing."), button("Fetch …", () => fetchSome(vhost, queue, () => part.refresh()), { class: "small" })),
    show: (told) => (told.items.length ? [
      begin ? link(to("queues", vhost, queue), "‹ from the first one") : null,
      table(told.items, vhost, queue),
      told.damaged.map((it) => h("p", { class: "error" }, visible(it))),
      told.next === null ? null : link(to("queues", vhost, queue, { from: told.next }), `the next ${SHOWN} ›`),
    ] : [h("p", null, begin ? "There is no message from here on. " : "No message waits here. Publish one:"),
      begin ? link(to("queues", vhost, queue), "From the first one") : commandLine(command("logstore", "exchange", "publish", [""], "--key", queue, "--message", "hello", ...inVhost(vhost)))]),
  });
}

const table = (items, vhost, queue) => plainTable("Messages", [
  column("position", "Message", (it) => link(to("queues", vhost, queue, "messages", it), visible(it))),
  column("state", "State", (it, row) => [badge(it, it === "unacked" ? "warn" : ""), row.redelivered ? [" ", badge("given out before")] : null]),
  column("time_ms", "Published", (it) => h("span", { title: moment(it) }, ago(it))),
  column("", "By", (it) => [it.exchange === "" ? dim("default") : named(it.exchange), " ", h("bdi", { class: "mono" }, visible(it.key))]),
  column("properties", "Properties", (it) => dim(inShort(it))),
  number("body_bytes", "Size", size),
  column("body", "Body", (it) => content(it), { wide: true }),
], items, { key: (it) => it.position });

export function inShort(it) {
  const words = [it.content_type, it.priority === undefined ? null : `priority ${it.priority}`,
    it.expiration === undefined ? null : `expires in ${it.expiration} ms`, it.delivery_mode === 2 ? null : "not kept",
    it.headers && Object.keys(it.headers).length ? counted(Object.keys(it.headers).length, "header") : null];
  return visible(words.filter(Boolean).join(", "));
}

export function content(it) {
  if (it.base64 !== undefined) return h("span", { class: "preview-text dim", title: "not UTF-8: shown as base64" }, it.base64.slice(0, 200));
  return it.text === "" ? dim("empty") : h("bdi", { class: "preview-text" }, visible(it.text.slice(0, 300)));
}

function fetchSome(vhost, queue, done) {
  const shown = h("div");
  form({
    title: `Fetch messages of ${visible(queue)}`,
    verb: "Fetch",
    about: "As a consumer would: unlike looking, this changes what is in the queue.",
    danger: true,
    fields: [
      { name: "count", label: "How many", type: "number", value: 1, required: true, given: { min: 1, max: 100 } },
      { name: "then", label: "Afterwards they", type: "select", value: "requeue", options: THEN },
    ],
    act: async (it) => {
      const told = await ask(path("queues", queue, "get"), { method: "POST", query: { vhost }, body: { count: Number(it.count), then: it.then } });
      put(shown, told.items.map((one) => h("p", null, content(one.body))));
      done();
      const what = THEN.find(([word]) => word === it.then)[1];
      return told.items.length ? [`Fetched ${counted(told.items.length, "message")}, which ${what}. ${grouped(told.items.at(-1).ready)} ready.`, shown] : "There was no message to fetch.";
    },
  });
}
