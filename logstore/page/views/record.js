// One record: its headers, its key, and its value as text, as JSON or in hexadecimal.

import { address, path } from "../api.js";
import { aside, button, commandLine, dim, facts, h, link } from "../dom.js";
import { column, plainTable } from "../list.js";
import { to } from "../router.js";
import { ago, command, counted, grouped, moment, size, visible } from "../texts.js";
import { plain, textOf, valueIn } from "../value.js";
import { append } from "./append.js";

export function show(view, topic, partition, offset) {
  const state = { form: null };
  const part = view.part({
    path: path("topics", topic, "records", partition, offset),
    every: 1 << 30,
    show: (it) => shown(it),
  });

  function shown(it) {
    const { value } = it;
    const where = BigInt(it.offset);
    return [
      h("div", { class: "actions" },
        where > 0n ? link(to("topics", topic, "records", partition, String(where - 1n)), "‹ previous") : null,
        link(to("topics", topic, "records", partition, String(where + 1n)), "next ›"),
        h("span", { class: "gap" }),
        it.truncated ? null : button("Append it again …", () => again(topic, it)),
        value ? h("a", { class: "button", href: address(path("topics", topic, "records", partition, offset, "value")), download: `${topic}-${partition}-${offset}` }, "Download the value") : null),
      facts([
        ["Partition", String(it.partition)], ["Offset", grouped(it.offset)],
        ["Time (UTC)", `${moment(it.time_ms)}, ${ago(it.time_ms)}`], ["Value", value ? size(it.value_bytes) : "none: the key is deleted"],
      ]),
      h("h3", null, "Key"), it.key === null || it.key === undefined ? aside("none") : h("pre", { class: "value" }, plain(it.key)),
      h("h3", null, it.headers_total ? counted(it.headers_total, "header") : "No headers"),
      it.headers?.length ? plainTable("Headers", [
        column("", "Name", ([key]) => h("bdi", { class: "mono" }, visible(key))),
        column("", "Value", ([, one]) => one === null ? dim("null") : h("bdi", { class: "mono" }, visible(textOf(one))), { wide: true }),
      ], it.headers) : null,
      value ? valueIn("Value", value, state, () => part.use(it)) : null,
      aside("The same on the command line"),
      commandLine(command("logstore", "consume", [topic], "--partition", partition, "--from", it.offset, "--max", "1", "--format", "json")),
    ];
  }
}

function again(topic, it) {
  const { value } = it;
  const bytes = [it.key, value, ...(it.headers ?? []).map(([, one]) => one)].some((one) => one?.base64 !== undefined);
  const encoded = (one) => (one === null || one === undefined ? "" : bytes ? one.base64 ?? base64(one.text) : one.text);
  append(topic, {
    about: `A copy of the record at partition ${it.partition}, offset ${it.offset}.`,
    partition: it.partition,
    key: encoded(it.key),
    value: encoded(value),
    headers: (it.headers ?? []).map(([key, one]) => (one === null ? key : `${key}=${encoded(one)}`)).join("\n"),
    encoding: bytes ? "base64" : "text",
    none: !value,
  });
}

function base64(text) {
  let binary = "";
  for (const octet of new TextEncoder().encode(text)) binary += String.fromCharCode(octet);
  return btoa(binary);
}
