// One message of a queue: its properties and its body. It stays where it is.

import { address, path } from "../api.js";
import { aside, button, commandLine, facts, h, named } from "../dom.js";
import { column, plainTable } from "../list.js";
import { ago, command, grouped, moment, size, visible } from "../texts.js";
import { valueIn } from "../value.js";
import { publish } from "./publish.js";
import { inVhost } from "./vhosts.js";

/** `past`: it may be settled, and is looked for among all that is on disk. */
export function show(view, vhost, queue, position, past) {
  const state = { form: null };
  const where = path("queues", queue, past ? "history" : "messages", position);
  const part = view.part({
    path: where,
    query: { vhost },
    every: 1 << 30,
    show: (it) => [
      h("div", { class: "actions" }, h("span", { class: "gap" }),
        it.truncated ? null : button("Publish it again …", () => again(vhost, it)),
        h("a", { class: "button", href: address(`${where}/body`, { vhost }), download: `${queue}-${position}` }, "Download the body")),
      facts([
        ["State", it.state], ["Published (UTC)", `${moment(it.time_ms)}, ${ago(it.time_ms)}`],
        ["By exchange", it.exchange === "" ? "the default one" : named(it.exchange)], ["Routing key", named(it.key)],
        ["Given out", it.delivery_count ? `${grouped(it.delivery_count)} times` : it.redelivered ? "before" : "never before"],
        past ? null : ["Expires", it.expires_ms === null ? "never" : moment(it.expires_ms)], ["Priority", grouped(it.priority)], ["Body", size(it.body_bytes)],
      ].filter(Boolean)),
      properties("Properties", Object.entries(it.properties).filter(([name]) => name !== "headers")),
      properties("Headers", Object.entries(it.properties.headers ?? {})),
      valueIn("Body", it.body, state, () => part.use(it)),
      it.truncated ? aside("The rest of the body is in the download.") : null,
      aside("The same on the command line"),
      commandLine(command("logstore", "queue", past ? "browse" : "peek", [queue], "--from", position, "--max", 1, ...inVhost(vhost))),
    ],
  });
}

function properties(title, rows) {
  if (!rows.length) return null;
  return [h("h3", null, title), plainTable(title, [
    column("", "Name", ([name]) => h("bdi", { class: "mono" }, visible(name))),
    column("", "Value", ([, value]) => h("bdi", { class: "mono" }, visible(typeof value === "string" ? value : JSON.stringify(value))), { wide: true }),
  ], rows)];
}

function again(vhost, it) {
  const bytes = it.body.base64 !== undefined;
  publish(vhost, it.exchange, it.key, {
    properties: it.properties, body: bytes ? it.body.base64 : it.body.text, encoding: bytes ? "base64" : "text",
  });
}
