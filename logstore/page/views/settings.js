// Settings with where each value comes from: of the store, and of one topic.

import { badge, dim, h, mono } from "../dom.js";
import { column } from "../list.js";
import { size, span, visible } from "../texts.js";

/** usual: the source of a value that nobody has chosen for this. */
export function settingColumns(usual) {
  return [
    column("name", "Setting", mono),
    column("value", "Value", (_, it) => [mono(it.value === "" ? "“”" : it.value), inWords(it) && dim(` ${inWords(it)}`)], { wide: true }),
    column("source", "Comes from", (it) => (usual(it) ? dim(it) : badge(it))),
    column("help", "What it does", (it, row) => [visible(it ?? ""), row.value === row.default ? null
      : dim([" Default: ", mono(row.default === "" ? "“”" : row.default ?? "none")])], { wide: true, sort: false }),
  ];
}

function inWords({ value, unit }) {
  const number = /^\d{4,18}$/.test(value) ? Number(value) : null;
  if (number === null) return "";
  return unit === "ms" ? span(number) : unit === "bytes" || unit === "B" ? size(number) : "";
}

export const settingsEmpty = ["There are no settings."];

/** What a change would come to. */
export const changedSettings = ({ changed }) => (changed.length
  ? changed.map((it) => h("p", null, mono(it.name), ": ", mono(it.from), " → ", mono(it.to)))
  : h("p", { class: "dim" }, "Nothing would change."));
