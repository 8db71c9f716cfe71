// A value of somebody else's, as text, as JSON or in hexadecimal: {text} or {base64}.

import { button, dim, h } from "./dom.js";
import { pretty } from "./json_text.js";
import { bytesOf, hex, visible } from "./texts.js";

const SHOWN_CHARS = 1 << 20; // more is for an editor: it can be downloaded
const PIECES_MAX = 20_000;

/** Its forms to choose from, and the chosen one. state.form: which; changed(): another is wanted. */
export function valueIn(title, value, state, changed) {
  const forms = formsOf(value);
  const form = forms.find(([word]) => word === state.form) ?? forms[0];
  return [h("div", { class: "actions" }, h("h3", null, title),
    h("span", { class: "segmented" }, forms.map(([word, label]) => button(label, () => {
      state.form = word;
      changed();
    }, { class: "small", "aria-pressed": String(word === form[0]) })))), form[2]()];
}

export const textOf = (it) => (it === null || it === undefined ? "" : it.text ?? it.base64 ?? String(it));
const octets = (it) => (it.base64 === undefined ? new TextEncoder().encode(it.text) : bytesOf(it.base64));
export const plain = (it) => (it.base64 === undefined ? lines(it.text) : hex(bytesOf(it.base64)));

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
