// Transactions of Kafka clients: what each is at, whom it holds back, and how to abort one.

import { ask, path } from "../api.js";
import { danger } from "../dialogs.js";
import { badge, button, dim, facts, h, link, mono, named } from "../dom.js";
import { column, number, plainTable } from "../list.js";
import { to } from "../router.js";
import { ago, command, counted, grouped, moment, visible } from "../texts.js";

export function show(view) {
  if (view.names.length > 0) one(view, view.names[0]);
  else all(view);
}

function all(view) {
  view.heading(["Transactions"]);
  const only = h("select", { "aria-label": "State", onchange: () => {
    view.remember({ open: only.value });
    rows.refresh();
  } }, [["", "all"], ["true", "open"]].map(([value, text]) => h("option", { value, selected: value === (view.query.get("open") ?? "") }, text)));
  const rows = view.list({
    caption: "Transactional ids",
    noun: "transactional id",
    path: "transactions",
    query: () => (only.value ? { open: only.value } : {}),
    controls: only,
    key: (it) => it.id,
    sort: "id",
    columns: [
      column("id", "Transactional id", (it) => link(to("transactions", it), named(it))),
      column("state", "State", (it) => badge(it)),
      number("partitions", "Partitions", grouped, { sort: false, help: "To which the open transaction has written" }),
      column("began_ms", "Open since", (it) => (it === null ? dim("–") : when(it))),
      number("timeout_ms", "Timeout", seconds, { help: "After which it is aborted" }),
      column("producer_id", "Producer", (it, row) => [mono(it), dim(` epoch ${row.epoch}`)]),
      column("", "", (it) => (it.state === "Ongoing" ? button("Abort …", () => abort(it, rows), { class: "small danger", "aria-label": `Abort the transaction of ${visible(it.id)}` }) : null)),
    ],
    empty: ["No Kafka client with a transactional id has come."],
  });
}

const seconds = (ms) => `${ms / 1000} s`;
const when = (ms) => h("span", { title: moment(ms) }, ago(ms));

function one(view, id) {
  view.heading([["Transactions", to("transactions")], id]);
  view.part({
    path: path("transactions", id),
    show: (it) => [
      facts([
        ["State", badge(it.state)], ["Open since", it.began_ms === null ? "–" : when(it.began_ms)], ["Changed", when(it.since_ms)],
        ["Timeout", seconds(it.timeout_ms)], ["Producer", `${it.producer_id}, epoch ${it.epoch}`],
        ["Partitions", grouped(it.partitions)], ["Commits for", it.groups.length ? it.groups.map((group) => [link(to("groups", group), named(group)), " "]) : "–"],
      ]),
      parts(it.parts),
    ],
  });
}

function parts(list) {
  return list.length === 0 ? null : plainTable("Where it has written", [
    column("topic", "Topic", (it) => (it === null ? dim("deleted") : link(to("topics", it), named(it)))),
    number("partition", "Partition", String),
    number("first_offset", "From offset"),
    column("holds_back", "Readers of committed records", (it) => (it ? "wait for it" : dim("wait for an earlier one"))),
  ], list, { key: (it) => `${it.topic} ${it.partition}` });
}

function abort(it, rows) {
  danger({
    verb: "Abort the transaction of",
    object: it.id,
    effect: async (signal) => {
      const now = await ask(path("transactions", it.id), { signal });
      return h("p", null, `What it has written to ${counted(now.partitions, "partition")} is never seen by readers of committed records. Its producer is fenced, and hears of it with its next request.`);
    },
    command: command("logstore", "transaction", "abort", [it.id]),
    act: async () => {
      await ask(path("transactions", it.id, "abort"), { method: "POST" });
      rows.refresh();
      return `Aborted the transaction of ${visible(it.id)}.`;
    },
  });
}
