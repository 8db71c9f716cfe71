// One record: its headers, its key, and its value as text, as JSON or in hexadecimal.

import { address, path } from "../api.js";
import { aside, button, commandLine, dim, facts, h, link } from "../dom.js";
import { pretty } from "../json_text.js";
import { column, plainTable } from "../list.js";
import { to } from "../router.js";
import { ago, bytesOf, command, counted, grouped, hex, moment, size, visible } from "../texts.js";
import { append } from "./topic.js";

const SHOWN_CHARS = 1 << 20; // more is for an editor: it can be downloaded
const PIECES_MAX = 20_000;

export function show(view, topic, partition, offset) {
  const state = { form: null };
  const part = view.part({
    path: path("topics", topic, "records", partition, offset),
    every: 1 << 30,
    show: (it) => shown(it),
  });

  function shown(it) {
    const { value } = it;
    const forms = formsOf(value);
    const form = forms.find(([word]) => word === state.form) ?? forms[0];
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
      value ? [h("div", { class: "actions" }, h("h3", null, "Value"),
        h("span", { class: "segmented" }, forms.map(([word, title]) => button(title, () => {
          state.form = word;
          part.use(it);
        }, { class: "small", "aria-pressed": String(word === form[0]) })))), form[2]()] : null,
      aside("The same on the command line"),
      commandLine(command("logstore", "consume", topic, "--partition", partition, "--from", it.offset, "--max", "1", "--format", "json")),
    ];
  }
}

const textOf = (it) => (it === null || it === undefined ? "" : it.text ?? it.base64 ?? String(it));
const octets = (it) => (it.base64 === undefined ? new TextEncoder().encode(it.text) : bytesOf(it.base64));
const plain = (it) => (it.base64 === undefined ? lines(it.text) : hex(bytesOf(it.base64)));

/** A text as it is, but for what can't be seen; its lines stay. */
const lines = (text) => text.slice(0, SHOWN_CHARS).split("\n").map(visible).join("\n");

/** [word, title, () -> node]: how a value can be shown, the best one first. */
function formsOf(value) {
  if (!value) return [];
  const asHex = ["hex", "Hex", () => h("pre", { class: "value hex" }, hex(octets(value).subarray(0, SHOWN_CHARS / 8)), more(octets(value).length > SHOWN_CHARS / 8))];
  if (value.base64 !== undefined) return [asHex];
  const asText = ["text", "Text", () => h("pre", { class: "value" }, lines(value.text), more(value.text.length > SHOWN_CHARS))];
  const pieces = value.text.length <= SHOWN_CHARS ? pretty(value.text) : null;
  if (pieces === null) return [asText, asHex];
  return [["json", "JSON", () => h("pre", { class: "value" }, coloured(pieces))], asText, asHex];
}

function coloured(pieces) {
  if (pieces.length > PIECES_MAX) return pieces.map(([, text]) => (text.startsWith("\n") ? text : visible(text))).join("");
  return pieces.map(([kind, text]) => kind === "" ? text
    : h("span", { class: kind === "number" ? "json-number" : kind }, visible(text)));
}

const more = (is) => is && dim("\n… the rest is in the download");

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
