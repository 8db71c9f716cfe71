// Consumer groups: who is behind, by how much, since when; one of them, and how to move it.

import { ask, path } from "../api.js";
import { chart } from "../charts.js";
import { danger, form } from "../dialogs.js";
import { aside, badge, button, dim, facts, h, link, named } from "../dom.js";
import { column, number, plainTable } from "../list.js";
import { go, to } from "../router.js";
import { ago, command, counted, grouped, perSecond, rate, visible } from "../texts.js";
import { timeOf } from "./records.js";

export function show(view) {
  if (view.names.length > 0) one(view, view.names[0]);
  else all(view);
}

function all(view) {
  view.heading(["Groups"]);
  view.list({
    caption: "Groups",
    noun: "group",
    path: "groups",
    key: (it) => it.name,
    sort: "name",
    pins: { kind: "groups", label: (key) => key, href: (key) => to("groups", key) },
    columns: [
      column("name", "Name", (it) => link(to("groups", it), named(it))),
      column("state", "State", (it) => badge(it)),
      number("members", "Members"),
      number("lag", "Lag", grouped, { help: "Records that it has not committed yet" }),
      number("lag_per_s", "Lag grows /s", trend),
      number("topics", "Topics"),
      column("kind", "Kind", (it) => dim(it)),
      column("error", "", (it) => it && h("span", { class: "error" }, visible(it)), { sort: false }),
    ],
    empty: ["No group has read anything yet. Begin one:", command("logstore", "consume", ["orders"], "--group", "billing")],
  });
}

const trend = (it) => (it === null || it === undefined ? "–" : it > 0 ? h("span", { class: "bad-text" }, `+${rate(it)}`) : rate(it));

function one(view, group) {
  let about = null;
  view.heading([["Groups", to("groups")], group],
    button("Reset offsets …", () => reset(group, about), { class: "danger" }),
    button("Delete group …", () => remove(group), { class: "danger" }));
  const summary = view.part({ show: (it) => [
    facts([
      ["State", badge(it.state)], ["Lag", grouped(it.lag)], ["Lag grows", perSecond(it.lag_per_s)],
      ["Members", grouped(it.members_total)], ["Kind", it.kind],
    ]),
    it.history.lag.length > 1 ? chart("Lag in the last hour", [{ name: "lag", values: it.history.lag, tone: "out" }], it.history.step_s, grouped) : null,
  ] });
  view.list({
    caption: "Partitions",
    noun: "partition",
    path: path("groups", group),
    sorts: false,
    filter: false,
    key: (it) => `${it.topic} ${it.partition}`,
    taken: (it) => ({ items: it.partitions, total: it.partitions_total }),
    changed: (it) => {
      about = it;
      summary.use(it);
      who.use(it);
    },
    columns: [
      column("topic", "Topic", (it) => link(to("topics", it), named(it))),
      number("partition", "Partition"),
      number("", "Committed", (it) => it.committed === null ? dim("nothing")
        : link(to("topics", it.topic, { from: "offset", place: it.committed, in: it.partition }), grouped(it.committed))),
      number("end", "End"),
      number("lag", "Lag"),
      number("oldest_unread_ms", "Oldest unread", (it) => ago(it)),
      column("", "Read by", (it) => (it.owner ? named(it.owner) : it.readers > 1 ? counted(it.readers, "member") : dim("nobody"))),
      column("", "", (it) => button("Set …", () => reset(group, about, it), { class: "small", "aria-label": `Set the offset of ${it.topic} ${it.partition}` })),
    ],
    empty: ["It has committed nothing yet."],
  });
  const who = view.part({ title: "Members", show: (it) => it.members.length ? members(it.members) : aside("Nobody reads in this group now.") });
}

function members(rows) {
  return plainTable("Members", [
    column("id", "Member", named),
    column("client_id", "Client", (it) => named(it ?? "–")),
    column("host", "Host", (it) => named(it ?? "–")),
    column("assignment", "Partitions", assigned, { wide: true }),
  ], rows, { key: (it) => it.id });
}

/** Partitions in words: [{topic, partitions}] or [{topic, partition}]. */
function assigned(given) {
  const by = new Map();
  for (const it of given ?? []) {
    by.set(it.topic, [...(by.get(it.topic) ?? []), ...(it.partitions ?? [it.partition])]);
  }
  return by.size ? [...by].map(([topic, numbers]) => [named(topic), ` ${numbers.join(", ")} `]) : dim("none");
}

const PLACES = [["earliest", "the first record that is there"], ["latest", "the end"], ["offset", "an offset"],
  ["time_ms", "a time (UTC)"], ["shift", "so many records on (or back, with -)"]];

function bodyOf({ to: place, value, topic, partition }, dry) {
  const body = { to: place, dry_run: dry };
  if (place === "offset" || place === "shift") {
    if (!/^-?\d{1,19}$/.test(value)) throw new Error(place === "offset" ? "an offset is a whole number" : "a number of records is needed, such as -100");
    body.value = value;
  }
  if (place === "time_ms") body.value = String(timeOf(value));
  if (topic) body.topics = [topic];
  if (partition !== "") body.partitions = [Number(partition)];
  return body;
}

/** A place as the command line has it. */
function placeOf({ to: place, value }) {
  if (place === "earliest" || place === "latest") return place;
  return place === "offset" ? value || "OFFSET" : value ? new Date(timeOf(value)).toISOString() : "TIME";
}

/** row: the partition whose offset is to be set, as it stands. */
function reset(group, about, row) {
  const topics = [...new Set((about?.partitions ?? []).map((it) => it.topic))];
  form({
    title: `Reset the offsets of ${visible(group)}`,
    verb: "Reset offsets",
    danger: true,
    about: about?.kind === "share" ? "A share group has no committed offsets that could be moved."
      : about?.members.length ? "It has members: it cannot be moved until they have left." : "The group goes on reading from there.",
    fields: [
      { name: "to", label: "To", type: "select", value: row ? "offset" : "earliest", options: PLACES },
      { name: "value", label: "Offset, time or number", value: row?.committed ?? row?.start ?? "", help: "Only where one is asked for: 1200, 2026-11-28 14:00, -100." },
      { name: "topic", label: "Topic", type: "select", value: row?.topic ?? "", options: [["", "all"], ...topics.map((it) => [it, visible(it)])] },
      { name: "partition", label: "Partition", type: "number", value: row?.partition ?? "", given: { min: 0 }, help: "Empty: all of them." },
    ],
    command: (it) => it.to === "shift" ? null : command("logstore", "group", "reset-offsets", [group],
      ...(it.topic ? ["--topic", it.topic] : []), ...(it.partition === "" ? [] : ["--partition", it.partition]), "--to", placeOf(it)),
    preview: async (it, signal) => moved(await ask(path("groups", group, "reset"), { method: "POST", body: bodyOf(it, true), signal })),
    act: async (it) => {
      const told = await ask(path("groups", group, "reset"), { method: "POST", body: bodyOf(it, false) });
      return `Moved group ${visible(group)} in ${counted(told.partitions.length, "partition")}.`;
    },
  });
}

function moved({ partitions: rows }) {
  return plainTable("What would change", [
    column("topic", "Topic", named),
    number("partition", "Partition"),
    number("from", "From"),
    number("to", "To"),
    number("", "", (it) => difference(it)),
  ], rows, { key: (it) => `${it.topic} ${it.partition}` });
}

function difference(it) {
  if (it.from === null || it.from === undefined || it.to === null || it.to === undefined) return "";
  const by = BigInt(it.to) - BigInt(it.from);
  if (by === 0n) return dim("stays");
  return by > 0n ? `skips ${grouped(by)}` : `again ${grouped(-by)}`;
}

function remove(group) {
  danger({
    verb: "Delete group",
    object: group,
    effect: async (signal) => {
      const it = await ask(path("groups", group), { method: "DELETE", body: { dry_run: true }, signal });
      return h("p", null, `It forgets what it has committed in ${counted(it.offsets, "partition")} of `,
        it.topics.slice(0, 20).map((topic) => [named(topic), " "]), "No record is deleted.");
    },
    command: command("logstore", "group", "delete", [group]),
    act: async () => {
      const it = await ask(path("groups", group), { method: "DELETE" });
      go(to("groups"));
      return `Deleted group ${visible(group)} with its offsets in ${counted(it.offsets, "partition")}.`;
    },
  });
}
