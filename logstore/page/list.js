// Rows of the API as a table: paged, sorted and filtered by the server, with all of it in the address.

import { ask } from "./api.js";
import { button, commandLine, h, link, named, put } from "./dom.js";
import { isPinned, pinned, togglePin } from "./pins.js";
import { clock, counted, grouped, visible } from "./texts.js";

const TYPING_MS = 200;
const PAGE_SIZE = 100;

/**
 * A column: show(row[key], row) -> node or text; without a key show(row). Rows are sorted by it, unless
 * more has sort: false or there is no key. more: {sort, help, wide}.
 */
export const column = (key, title, show = String, more = {}) => ({ key, title, show, sort: key !== "", ...more });

/** The same of numbers, which stand below each other. */
export const number = (key, title, show = grouped, more = {}) => ({ ...column(key, title, show, more), number: true });

const cell = (it, row) => h("td", { class: classOf(it) }, it.key ? it.show(row[it.key], row) : it.show(row));

function classOf({ number: right, wide }) {
  return right ? "number" : wide ? "wide" : null;
}

/**
 * spec:
 *   caption   "Topics": what the rows are; noun: "topic" (plural: with an s)
 *   path      where they are asked for; query: more of the query, or a function that gives it
 *   key       row -> what tells it from the others
 *   columns   [column(..), number(..)]; sorts: false where the server sorts by none of them
 *   sort      the first order: "name", "-bytes"
 *   empty     [sentence, command]: what to do where there are none at all
 *   filter    false: rows can't be filtered; regex: false: by no regular expression
 *   pins      {kind, label(key) -> text, href(key)}: rows may be pinned
 *   prefix    before the words in the address, where a view has two lists
 *   taken     (answer) -> {items, total}, where the rows have another name in it
 *   every     ms between two looks, at least
 *   changed   (answer) -> told of each answer
 */
export function list(view, spec) {
  const word = (it) => (spec.prefix ?? "") + it;
  const state = {
    filter: view.query.get(word("f")) ?? "",
    regex: view.query.get(word("re")) === "1",
    sort: view.query.get(word("s")) ?? spec.sort ?? "",
    page: Number(view.query.get(word("p"))) || 1,
  };
  let asking = null;
  let answer = null;
  let since = 0;
  let [work, last] = [0, 0]; // in ms, of the last answers

  const field = h("input", {
    type: "search", class: "filter", value: state.filter, autocomplete: "off", spellcheck: "false",
    placeholder: "Filter by name", "aria-label": `Filter ${spec.caption.toLowerCase()} by name`,
    "data-filter": "1",
  });
  const regex = button(".*", () => change({ regex: !state.regex, page: 1 }), {
    class: "small toggle", title: "The filter is a regular expression (RE2)",
    "aria-label": "The filter is a regular expression",
  });
  const showing = h("span", { class: "showing dim", role: "status" });
  const older = button("‹", () => change({ page: state.page - 1 }), { "aria-label": "Previous page", class: "small" });
  const newer = button("›", () => change({ page: state.page + 1 }), { "aria-label": "Next page", class: "small" });
  const note = h("p", { class: "note", hidden: true });
  const pins = h("p", { class: "pins" });
  const body = h("tbody");
  const head = h("tr");
  const table = h("table", null, h("caption", { class: "offscreen" }, spec.caption), h("thead", null, head), body);
  const scroller = h("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": spec.caption }, table);
  const empty = h("div", { class: "empty", hidden: true });
  const element = h("section", { class: "list" },
    h("div", { class: "bar-above" },
      spec.filter === false ? null : [h("span", { class: "filtering" }, field, spec.regex === false ? null : regex)],
      spec.controls ?? null, showing, h("span", { class: "pager" }, older, newer)),
    pins, note, scroller, empty);

  let typing = 0;
  field.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => change({ filter: field.value, page: 1 }), TYPING_MS);
  };

  function change(changes) {
    Object.assign(state, changes);
    view.remember({
      [word("f")]: state.filter,
      [word("re")]: state.regex ? "1" : "",
      [word("s")]: state.sort === (spec.sort ?? "") ? "" : state.sort,
      [word("p")]: state.page > 1 ? state.page : "",
    });
    drawHead();
    return refresh();
  }

  async function refresh() {
    asking?.abort();
    const mine = (asking = new AbortController());
    element.classList.add("asking");
    try {
      const more = typeof spec.query === "function" ? spec.query() : spec.query;
      const given = await ask(spec.path, {
        query: { filter: state.filter, regex: state.filter && state.regex ? "true" : "", sort: state.sort,
          page: state.page, page_size: PAGE_SIZE, ...more },
        signal: AbortSignal.any([mine.signal, view.signal]),
        weighed: (ms) => ([work, last] = [Math.min(ms, last), ms]),
      });
      const told = spec.taken ? { ...given, ...spec.taken(given) } : given;
      if (told.page > 1 && told.page > told.pages) {
        change({ page: Math.max(1, told.pages) });
        return work;
      }
      answer = told;
      since = Date.now();
      note.hidden = true;
      spec.changed?.(told);
      draw();
    } catch (error) {
      if (error.name === "AbortError") return work;
      put(note, `${visible(error.message)}.`.replace(/\.+$/, "."), since ? ` Shown as of ${clock(since)}.` : "");
      note.hidden = false;
      work = 0;
    } finally {
      if (asking === mine) {
        asking = null;
        element.classList.remove("asking");
      }
    }
    return work;
  }

  function drawHead() {
    regex.setAttribute("aria-pressed", String(state.regex));
    const [by, down] = state.sort.startsWith("-") ? [state.sort.slice(1), true] : [state.sort, false];
    put(head, spec.pins ? h("th", { scope: "col", class: "pin" }, h("span", { class: "offscreen" }, "Pinned")) : null,
      spec.columns.map((it) => {
        const mine = by === it.key;
        const sorts = it.sort && spec.sorts !== false;
        const next = mine ? (down ? it.key : `-${it.key}`) : it.number ? `-${it.key}` : it.key;
        return h("th", { scope: "col", class: classOf(it), title: it.help,
          "aria-sort": sorts && mine ? (down ? "descending" : "ascending") : null },
        sorts ? button([it.title, h("span", { class: "arrow", "aria-hidden": "true" }, mine ? (down ? "▾" : "▴") : "")],
          () => change({ sort: next, page: 1 }), { class: "sorts" }) : it.title);
      }));
  }

  function draw() {
    const { items, page, page_size: pageSize, pages, total } = answer;
    put(body, items.map((row) => {
      const key = spec.key(row);
      return h("tr", { "data-key": key, class: spec.tone?.(row) },
        spec.pins ? h("td", { class: "pin" }, pin(key)) : null,
        spec.columns.map((it) => cell(it, row)));
    }));
    const first = (page - 1) * pageSize + 1;
    showing.textContent = total === 0 ? "none"
      : total <= items.length ? counted(total, spec.noun, spec.plural)
      : `showing ${grouped(first)} to ${grouped(first + items.length - 1)} of ${counted(total, spec.noun, spec.plural)}`;
    older.disabled = page <= 1;
    newer.disabled = page >= pages;
    element.classList.toggle("one-page", pages <= 1);
    scroller.hidden = items.length === 0;
    empty.hidden = items.length !== 0;
    if (items.length === 0) {
      put(empty, state.filter
        ? h("p", null, `No ${spec.noun} ${state.regex ? "matches" : "has"} `, named(state.filter), state.regex ? ". " : " in its name. ",
          button("Clear the filter", () => {
            field.value = "";
            change({ filter: "", page: 1 });
          }))
        : emptyState(spec.empty));
    }
    drawPins();
  }

  function drawPins() {
    if (!spec.pins) return;
    const keys = pinned(spec.pins.kind);
    put(pins, keys.length ? [h("span", { class: "dim" }, "Pinned "), keys.map((key) =>
      [link(spec.pins.href(key), named(spec.pins.label(key))), " "])] : null);
  }

  function pin(key) {
    const is = isPinned(spec.pins.kind, key);
    return button(is ? "★" : "☆", () => {
      togglePin(spec.pins.kind, key);
      draw();
    }, { class: "star", "aria-pressed": String(is), "aria-label": `Pin ${visible(spec.pins.label(key))}` });
  }

  drawHead();
  drawPins();
  view.repeat(refresh, spec.every);
  return { element, refresh, state, answer: () => answer, draw };
}

/** One sentence, and a command that changes it. */
export function emptyState(given) {
  const [sentence, command] = given ?? ["There is nothing here."];
  return [h("p", null, sentence), command ? commandLine(command) : null];
}

/** A small table of rows that are at hand. columns as list's; nothing of it is asked for. */
export function plainTable(caption, columns, rows, given = {}) {
  return h("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("caption", { class: "offscreen" }, caption),
      h("thead", null, h("tr", null, columns.map((it) =>
        h("th", { scope: "col", class: classOf(it), title: it.help }, it.title)))),
      h("tbody", null, rows.map((row) => h("tr", { "data-key": given.key?.(row), class: given.tone?.(row) },
        columns.map((it) => cell(it, row)))))));
}
