// One topic: its records, partitions, groups, settings, and what is dangerous.

import { ask, path } from "../api.js";
import { danger, form } from "../dialogs.js";
import { aside, badge, button, dim, facts, h, link, mono } from "../dom.js";
import { column, number, plainTable } from "../list.js";
import { go, to } from "../router.js";
import { command, counted, grouped, moment, perSecond, size, span, visible } from "../texts.js";
import { kept } from "./topics.js";

const TABS = [["records", "Records"], ["partitions", "Partitions"], ["groups", "Groups"], ["settings", "Settings"], ["danger", "Danger"]];

export async function show(view) {
  const [topic, tab = "records"] = view.names;
  const crumbs = [["Topics", to("topics")]];
  const inner = tab === "records" && view.names.length > 2;
  view.heading(inner ? [...crumbs, [topic, to("topics", topic)], view.names.slice(2).join(":")] : [...crumbs, topic],
    button("Append a record", () => append(topic)));
  if (inner) {
    const record = await import("./record.js");
    record.show(view, topic, view.names[2], view.names[3]);
    return;
  }
  view.tabs(TABS.map(([word, title]) => [word, title, word === "records" ? to("topics", topic) : to("topics", topic, word)]), tab);
  if (tab === "records") {
    const records = await import("./records.js");
    records.show(view, topic);
  } else if (tab === "partitions") partitions(view, topic);
  else if (tab === "groups") groups(view, topic);
  else if (tab === "settings") settings(view, topic);
  else if (tab === "danger") dangers(view, topic);
  else view.add(h("div", { class: "empty" }, h("p", null, "A topic has no such part.")));
}

/** Facts in a line, of the topic itself. */
function summary(view, topic) {
  view.part({
    path: path("topics", topic),
    show: (it) => facts([
      ["Records", grouped(it.records)], ["Size", size(it.bytes)], ["Partitions", grouped(it.partitions)],
      ["In", perSecond(it.in_per_s)], ["Kept", kept(it)],
    ]),
  });
}

function partitions(view, topic) {
  summary(view, topic);
  const open = new Set();
  const part = view.list({
    caption: "Partitions",
    sorts: false,
    noun: "partition",
    path: path("topics", topic, "partitions"),
    key: (it) => String(it.partition),
    sort: "partition",
    filter: false,
    columns: [
      number("partition", "Partition", (it) => link(to("topics", topic, { in: it }), String(it))),
      number("start", "First offset"),
      number("safe", "Safe up to", grouped, { help: "Records below it are on disk, and can be read" }),
      number("end", "End"),
      number("bytes", "Size", size),
      column("segments", "Segments", (_, it) => segments(it, open, () => part.draw()), { wide: true }),
    ],
    empty: ["There is no partition."],
  });
}

function segments(it, open, draw) {
  const list = it.segments ?? [];
  const key = it.partition;
  const toggle = button(counted(list.length, "segment"), () => {
    if (!open.delete(key)) open.add(key);
    draw();
  }, { class: "small", "aria-expanded": String(open.has(key)) });
  if (!open.has(key)) return toggle;
  return [toggle, plainTable(`Segments of partition ${key}`, [
    number("base_offset", "First offset"),
    number("records", "Records"),
    number("bytes", "Size", size),
    column("last_ms", "Last record", (it) => moment(it)),
  ], list, { key: (one) => String(one.base_offset) })];
}

function groups(view, topic) {
  view.list({
    caption: "Groups that read this topic",
    sorts: false,
    noun: "group",
    path: path("topics", topic, "groups"),
    key: (it) => it.name,
    filter: false,
    columns: [
      column("name", "Group", (it) => link(to("groups", it), name(it))),
      column("state", "State", (it) => it ?? "–"),
      number("members", "Members"),
      number("lag", "Lag here"),
    ],
    empty: ["No group reads this topic. Begin one:", command("logstore", "consume", topic, "--group", "billing")],
  });
}

function settings(view, topic) {
  view.list({
    caption: "Settings",
    sorts: false,
    noun: "setting",
    path: path("topics", topic, "settings"),
    key: (it) => it.name,
    sort: "name",
    filter: false,
    columns: [
      column("name", "Setting", (it) => mono(it)),
      column("", "Value", (it) => [mono(it.value), inWords(it) && dim(` ${inWords(it)}`)]),
      column("source", "Comes from", (it) => it === "topic" ? badge(it) : dim(it)),
      column("default", "Default", (it) => h("span", { class: "mono dim" }, visible(it ?? "–"))),
      column("help", "What it does", (it) => it ?? "", { wide: true }),
      column("", "", (it) => button("Change", () => change(topic, it), { class: "small", "aria-label": `Change ${it.name}` })),
    ],
    empty: ["There are no settings."],
  });
}

function inWords({ name: setting, value }) {
  if (!/^\d+$/.test(String(value))) return "";
  if (setting.endsWith(".ms")) return `(${span(Number(value))})`;
  return setting.endsWith(".bytes") && Number(value) >= 1000 ? `(${size(value)})` : "";
}

function change(topic, it) {
  form({
    title: `Change ${it.name}`,
    about: it.help,
    verb: "Change",
    fields: [
      { name: "value", label: "Value", value: it.value, help: `Default: ${it.default}` },
      { name: "back", label: "Back to the default: take the topic's own value away", type: "checkbox", value: false },
    ],
    command: ({ value, back }) => command("logstore", "topic", "alter", topic,
      ...(back ? ["--delete-config", it.name] : ["--config", `${it.name}=${value}`])),
    act: async ({ value, back }) => {
      await ask(path("topics", topic, "settings"), { method: "PUT", body: { settings: { [it.name]: back ? null : value } } });
      return back ? `${it.name} of topic ${topic} has its default again.` : `${it.name} of topic ${topic} is ${value} now.`;
    },
  });
}

function dangers(view, topic) {
  const block = (title, text, act) => h("section", { class: "panel" }, h("h2", null, title), aside(text), act);
  view.add(
    block("Add partitions", "Keys may go to other partitions than before. Partitions cannot be removed.",
      button("Add partitions …", () => grow(topic))),
    block("Trim", "Delete the records before a place for good. The offsets of the others stay as they are.",
      button("Trim …", () => trim(topic), { class: "danger" })),
    block("Delete", "Delete the topic with all its records, and what groups have committed in it.",
      button("Delete topic …", () => remove(topic), { class: "danger" })),
  );
}

async function grow(topic) {
  const { partitions: count } = await ask(path("topics", topic));
  form({
    title: `Add partitions to ${topic}`,
    verb: "Add partitions",
    about: `It has ${counted(count, "partition")}. A key that went to one of them may go to another one from then on.`,
    fields: [{ name: "count", label: "Partitions in all", type: "number", value: count + 1, required: true, given: { min: count + 1, max: 10000 } }],
    command: (it) => command("logstore", "topic", "alter", topic, "--partitions", it.count),
    act: async (it) => {
      await ask(path("topics", topic, "partitions"), { method: "PUT", body: { count: Number(it.count) } });
      return `Topic ${topic} has ${it.count} partitions now.`;
    },
  });
}

function trim(topic) {
  const body = ({ partition, before }, dry) => ({
    ...(partition === "" ? {} : { partition: Number(partition) }), before, dry_run: dry,
  });
  form({
    title: `Trim ${topic}`,
    verb: "Trim for good",
    danger: true,
    fields: [
      { name: "before", label: "First place that is kept", value: "-7d", required: true,
        help: "An offset, latest, a time (2026-11-28T00:00Z), or how long ago (-7d, -1h)." },
      { name: "partition", label: "Partition", type: "number", given: { min: 0 }, help: "Empty: all of them." },
    ],
    command: (it) => command("logstore", "topic", "trim", topic, "--before", it.before,
      ...(it.partition === "" ? [] : ["--partition", it.partition])),
    preview: async (it, signal) => trimmed(await ask(path("topics", topic, "trim"), { method: "POST", body: body(it, true), signal })),
    act: async (it) => {
      const told = await ask(path("topics", topic, "trim"), { method: "POST", body: body(it, false) });
      return `Trimmed ${counted(recordsIn(told), "record")} off topic ${topic}.`;
    },
  });
}

const recordsIn = (told) => String((told.partitions ?? []).reduce((sum, it) => sum + BigInt(it.records ?? 0), 0n));

function trimmed(told) {
  return [h("p", null, h("b", null, counted(recordsIn(told), "record")), " would be deleted for good:"),
    plainTable("What would be deleted", [
      number("partition", "Partition"),
      number("start", "First offset now"),
      number("", "Then", (it) => grouped(it.new_start ?? it.to)),
      number("records", "Records"),
    ], told.partitions ?? [], { key: (it) => String(it.partition) })];
}

function remove(topic) {
  let about = null;
  danger({
    verb: "Delete topic",
    object: topic,
    effect: async (signal) => {
      about = await ask(path("topics", topic), { signal });
      const readers = await ask(path("topics", topic, "groups"), { signal, query: { page_size: 20 } });
      return [h("p", null, h("b", null, counted(about.records, "record")), ` in ${counted(about.partitions, "partition")}, ${size(about.bytes)}.`),
        readers.total ? h("p", null, `${counted(readers.total, "group")} read it: `, readers.items.map((it) => [name(it.name), " "])) : null];
    },
    type: () => String(about?.records ?? "0") !== "0",
    command: command("logstore", "topic", "delete", topic),
    act: async () => {
      await ask(path("topics", topic), { method: "DELETE" });
      go(to("topics"));
      return `Deleted topic ${topic} with ${counted(about.records, "record")}.`;
    },
  });
}

/** Append a record; given: what stands in the form at first. */
export function append(topic, given = {}) {
  form({
    title: `Append a record to ${topic}`,
    verb: "Append",
    about: given.about,
    fields: [
      { name: "partition", label: "Partition", type: "number", value: given.partition ?? "", given: { min: 0 }, help: "Empty: chosen by the key." },
      { name: "key", label: "Key", value: given.key ?? "", help: "Empty: none." },
      { name: "value", label: "Value", type: "textarea", value: given.value ?? "" },
      { name: "headers", label: "Headers", type: "textarea", rows: 2, value: given.headers ?? "", help: "A line each: name=value" },
      { name: "encoding", label: "Key, value and headers are", type: "select", value: given.encoding ?? "text", options: [["text", "text"], ["base64", "bytes in base64"]] },
    ],
    act: async (it) => {
      const headers = it.headers.split("\n").filter(Boolean).map((line) => line.split(/=(.*)/s).slice(0, 2));
      const told = await ask(path("topics", topic, "records"), { method: "POST", body: {
        ...(it.partition === "" ? {} : { partition: Number(it.partition) }),
        ...(it.key === "" ? {} : { key: it.key }), value: it.value, headers, encoding: it.encoding } });
      return `Appended a record to topic ${topic}: partition ${told.partition}, offset ${told.offset}.`;
    },
  });
}
