// Redis's keys: the databases, which keys there are, and what is under one. Nothing is changed here.

import { ask, path } from "../api.js";
import { button, commandLine, dim, facts, h, link, mono, named, put } from "../dom.js";
import { column, emptyState, number, plainTable } from "../list.js";
import { to } from "../router.js";
import { command, counted, grouped, moment, size, span, visible } from "../texts.js";
import { plain, valueIn } from "../value.js";

const KINDS = ["string", "list", "hash", "set", "zset"];
const PARTS = { hash: ["Field", "Value"], zset: ["Member", "Score"], list: ["Element"], set: ["Member"] };

export function show(view) {
  const [database, key] = view.names;
  if (database === undefined) databases(view);
  else if (key === undefined) keys(view, database);
  else one(view, database, key);
}

function databases(view) {
  view.heading(["Keys"]);
  view.part({
    title: "Databases",
    wide: true,
    path: "keys",
    show: (it) => [
      it.damage && h("p", { class: "note" }, visible(it.damage)),
      it.failing && h("p", { class: "note" }, `Changes can't be written: ${visible(it.failing)}`),
      it.loading && h("p", { class: "dim" }, "They are still read from disk."),
      it.databases.length ? plainTable("Databases", [
        column("database", "Database", (n) => link(to("keys", String(n)), String(n))),
        column("topic", "Topic", (name) => link(to("topics", name), named(name))),
        number("keys", "Keys"), number("expiring", "Expiring"),
        number("bytes", "Memory", size, { help: "What keys and values take, about" }),
        number("hits", "Hits"), number("misses", "Misses"), number("expired", "Expired"), number("evicted", "Evicted"),
      ], it.databases, { key: (row) => String(row.database) }) : emptyState(["There are no keys. Set one:", "redis-cli SET greeting hello"]),
    ],
  });
}

/** As SCAN goes: a part at a time, on from where the one before has ended. */
function keys(view, database) {
  view.heading([["Keys", to("keys")], `Database ${database}`]);
  const pattern = h("input", { type: "search", class: "filter", value: view.query.get("pattern") ?? "", autocomplete: "off", spellcheck: "false",
    placeholder: "Pattern: user:*", "aria-label": "Pattern of keys", "data-filter": "1" });
  const kind = h("select", { "aria-label": "Type", onchange: begin }, ["", ...KINDS].map((it) =>
    h("option", { value: it, selected: it === (view.query.get("type") ?? "") }, it || "all types")));
  const showing = h("span", { class: "showing dim", role: "status" });
  const body = h("div");
  const more = button("Continue", () => go());
  const note = h("p", { class: "note", hidden: true });
  let state;

  function begin() {
    state?.asking.abort();
    state = { rows: [], cursor: "", looked: 0, total: 0, asking: new AbortController() };
    view.remember({ pattern: pattern.value, type: kind.value });
    return go();
  }

  async function go() {
    const mine = state;
    more.disabled = true;
    try {
      const found = await ask(path("keys", database), {
        query: { pattern: view.query.get("pattern") ?? "", type: view.query.get("type") ?? "", cursor: mine.cursor },
        signal: AbortSignal.any([mine.asking.signal, view.signal]),
      });
      mine.rows.push(...found.items);
      mine.looked += found.looked_at;
      mine.cursor = found.cursor;
      mine.total = found.keys;
      note.hidden = true;
    } catch (error) {
      if (error.name === "AbortError") return;
      put(note, visible(error.message));
      note.hidden = false;
    }
    more.disabled = false;
    draw();
  }

  function draw() {
    const { rows, cursor, looked, total } = state;
    more.hidden = cursor === null;
    showing.textContent = `${counted(rows.length, "key")} found among ${grouped(looked)} of ${grouped(total)}`;
    put(body, rows.length ? plainTable("Keys", [
      column("key", "Key", (it) => (it === "" ? dim("no name") : link(to("keys", database, it), named(it))), { wide: true }),
      column("type", "Type"),
      column("expires_ms", "Expires", expires),
      number("elements", "Elements", (it) => (it === null ? dim("–") : grouped(it))),
      number("bytes", "Size", size),
      column("value", "Value", (it) => h("bdi", { class: "preview-text" }, preview(it)), { wide: true }),
    ], rows, { key: (it) => it.key }) : h("div", { class: "empty" }, h("p", null, cursor === null ? "No key is like that." : "None yet: continue.")));
  }

  view.add(h("section", { class: "list" }, h("form", { class: "bar-above", onsubmit: (event) => {
    event.preventDefault();
    begin();
  } }, h("span", { class: "filtering" }, pattern), kind, h("button", null, "Look"), showing), note, body, h("p", null, more)));
  begin();
}

const expires = (it) => (it === null ? dim("never")
  : h("span", { title: moment(it) }, it > Date.now() ? `in ${span(it - Date.now())}` : "now"));

function preview(value) {
  if (value === null) return dim("you may not read it");
  return Array.isArray(value) ? value.map((it) => it.map(plain).join(": ")).join(", ") : plain(value);
}

function one(view, database, key) {
  view.heading([["Keys", to("keys")], [`Database ${database}`, to("keys", database)], key]);
  const state = {};
  const part = view.part({
    wide: true,
    path: path("keys", database, key),
    show: (it) => [
      facts([["Type", it.type], ["Expires", expires(it.expires_ms)], ["Size", size(it.bytes)],
        it.elements === null ? null : ["Elements", grouped(it.elements)]].filter(Boolean)),
      it.elements === null ? valueIn("Value", it.value, state, () => part.use(part.data))
        : plainTable("Elements", PARTS[it.type].map((title, at) => ({ ...column("", title, (row) => mono(plain(row[at])), { wide: true }) })), it.value),
      it.elements !== null && it.value.length < it.elements ? dim(`The first ${grouped(it.value.length)} of ${grouped(it.elements)}.`) : null,
      it.elements === null && it.bytes > 1024 ? dim("The beginning of it.") : null,
      commandLine(command("logstore", "keys", "get", [key], ...(database === "0" ? [] : [`--database=${database}`]))),
    ],
  });
}
