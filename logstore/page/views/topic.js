// One topic: its records, partitions, groups, settings, and what is dangerous.

import { ask, path } from "../api.js";
import { danger, form } from "../dialogs.js";
import { aside, badge, button, dim, facts, h, link, named } from "../dom.js";
import { column, number, plainTable } from "../list.js";
import { go, to } from "../router.js";
import { command, counted, grouped, kept, moment, perSecond, size, visible } from "../texts.js";
import { changedSettings, settingColumns, settingsEmpty } from "./settings.js";
import { timeOf } from "./records.js";
import { append } from "./append.js";

const TABS = [["records", "Records"], ["partitions", "Partitions"], ["groups", "Groups"], ["routes", "Exchanges"], ["settings", "Settings"], ["danger", "Danger"]];

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
  else if (tab === "routes") routes(view, topic);
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
    filter: false,
    columns: [
      number("partition", "Partition", (it) => link(to("topics", topic, { in: it }), String(it))),
      number("start", "First offset"),
      number("safe", "Safe up to", grouped, { help: "Records below it are on disk, and can be read" }),
      number("end", "End"),
      number("stable", "Stable up to", stable, { help: "Readers of committed records come as far: a transaction may be open from there on" }),
      number("bytes", "Size", size),
      column("segments", "Segments", (_, it) => segments(it, open, () => part.draw()), { wide: true }),
    ],
    empty: ["There is no partition."],
  });
}

function stable(offset, it) {
  const holder = it.held_by;
  if (!holder) return grouped(offset);
  const whose = holder.transactional_id === null ? dim(`producer ${holder.producer_id}`) : link(to("transactions", holder.transactional_id), named(holder.transactional_id));
  return [grouped(offset), " ", whose];
}

function segments(it, open, draw) {
  if (it.error) return h("span", { class: "error" }, visible(it.error));
  const list = it.segments ?? [];
  const key = it.partition;
  const toggle = button(counted(it.segments_total ?? list.length, "segment"), () => {
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
      column("name", "Group", (it) => link(to("groups", it), named(it))),
      column("state", "State", (it) => badge(it)),
      number("members", "Members"),
      number("lag", "Lag here"),
    ],
    empty: ["No group reads this topic. Begin one:", command("logstore", "consume", [topic], "--group", "billing")],
  });
}

function routes(view, topic) {
  view.list({
    caption: "Exchanges that this topic feeds",
    sorts: false,
    noun: "exchange",
    path: path("topics", topic, "routes"),
    key: (it) => `${it.vhost} ${it.exchange}`,
    filter: false,
    columns: [
      column("exchange", "Exchange", (it) => it ? named(it) : "(default)"),
      column("vhost", "Virtual host", (it) => named(it)),
      column("key", "Routing key", (it) => named(it), { help: "The template that makes it of each record" }),
      number("lag", "Lag"),
      number("unrouted", "Unrouted", grouped, { help: "Messages that no queue took, since the server started" }),
      column("waits", "Waits for", (it) => it ? h("span", { class: "error" }, visible(it)) : "", { wide: true }),
      column("group", "Position", (it) => link(to("groups", it), named(it))),
    ],
    empty: ["This topic feeds no exchange. Have it feed one:", command("logstore", "topic", "route", [topic], "--to", "exchange:events")],
  });
}

function settings(view, topic) {
  view.list({
    caption: "Settings",
    noun: "setting",
    path: path("topics", topic, "settings"),
    key: (it) => it.name,
    sort: "name",
    columns: [
      ...settingColumns((source) => source !== "topic"),
      column("", "", (it) => button("Change", () => change(topic, it), { class: "small", "aria-label": `Change ${it.name}` })),
    ],
    empty: settingsEmpty,
  });
}

function change(topic, it) {
  form({
    title: `Change ${it.name}`,
    about: it.help,
    verb: "Change",
    fields: [
      { name: "value", label: "Value", value: it.value, help: `Takes ${it.takes ?? "a text"}. Default: ${it.default}` },
      { name: "back", label: "Back to the default: take the topic's own value away", type: "checkbox", value: false },
    ],
    command: ({ value, back }) => command("logstore", "topic", "alter", [topic],
      ...(back ? ["--delete-config", it.name] : ["--config", `${it.name}=${value}`])),
    preview: async ({ value, back }, signal) => changedSettings(await ask(path("topics", topic, "settings"), { method: "PUT", signal,
      body: { ...(back ? { reset: [it.name] } : { set: { [it.name]: value } }), dry_run: true } })),
    act: async ({ value, back }) => {
      await ask(path("topics", topic, "settings"), { method: "PUT", body: back ? { reset: [it.name] } : { set: { [it.name]: value } } });
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
    command: (it) => command("logstore", "topic", "alter", [topic], "--partitions", it.count),
    act: async (it) => {
      await ask(path("topics", topic, "partitions"), { method: "PUT", body: { count: Number(it.count) } });
      return `Topic ${topic} has ${it.count} partitions now.`;
    },
  });
}

function trim(topic) {
  const body = ({ partition, before }, dry) => ({
    ...(partition === "" ? {} : { partition: Number(partition) }), before: placeOf(before.trim()), dry_run: dry,
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
    command: (it) => command("logstore", "topic", "trim", [topic], "--before", it.before,
      ...(it.partition === "" ? [] : ["--partition", it.partition])),
    preview: async (it, signal) => trimmed(await ask(path("topics", topic, "trim"), { method: "POST", body: body(it, true), signal })),
    act: async (it) => {
      const told = await ask(path("topics", topic, "trim"), { method: "POST", body: body(it, false) });
      return `Trimmed ${counted(recordsIn(told), "record")} off topic ${topic}.`;
    },
  });
}

const AGO_MS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A place as the command line has it: latest, 1200, -7d, 2026-11-28T00:00Z. Raises Error. */
function placeOf(text) {
  if (text === "latest") return text;
  if (/^\d{1,10}$/.test(text)) return { offset: text };
  const [, number, unit] = /^-(\d{1,9})([smhd])$/.exec(text) ?? [];
  return { time_ms: unit ? Date.now() - Number(number) * AGO_MS[unit] : timeOf(text) };
}

const recordsIn = (told) => String((told.partitions ?? []).reduce((sum, it) => sum + BigInt(it.records), 0n));

function trimmed(told) {
  return [h("p", null, h("b", null, counted(recordsIn(told), "record")), " would be deleted for good:"),
    plainTable("What would be deleted", [
      number("partition", "Partition"),
      number("from", "First offset now"),
      number("to", "Then"),
      number("records", "Records"),
    ], told.partitions ?? [], { key: (it) => String(it.partition) })];
}

function remove(topic) {
  let about = null;
  danger({
    verb: "Delete topic",
    object: topic,
    effect: async (signal) => {
      about = await ask(path("topics", topic), { method: "DELETE", body: { dry_run: true }, signal });
      return [h("p", null, h("b", null, counted(about.records, "record")), ` in ${counted(about.partitions, "partition")}, ${size(about.bytes)}.`),
        about.groups.length ? h("p", null, `${counted(about.groups.length, "group")} lose what they have committed in it: `, about.groups.slice(0, 20).map((it) => [named(it), " "])) : null];
    },
    type: () => about?.records !== "0",
    command: command("logstore", "topic", "delete", [topic]),
    act: async () => {
      const told = await ask(path("topics", topic), { method: "DELETE" });
      go(to("topics"));
      return `Deleted topic ${topic} with ${counted(told.records, "record")}.`;
    },
  });
}
