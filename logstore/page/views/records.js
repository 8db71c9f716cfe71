// The record browser: a search that says how far it looked and can go on, and the tail as it comes.

import { ask, askLines, path } from "../api.js";
import { said } from "../dialogs.js";
import { aside, button, commandLine, dim, download, h, link, put } from "../dom.js";
import { tail } from "../live.js";
import { choice, choose } from "../pins.js";
import { to } from "../router.js";
import { clock, command, counted, csvField, grouped, moment, size, visible } from "../texts.js";

const ROWS_MAX = 2000; // what a browser shows without getting slow
const TAIL_ROWS = 500;
const DRAW_MS = 150;
const SAVED_BYTES_MAX = 64 << 20; // of values: a browser holds them all
const PLACES = [["newest", "newest"], ["earliest", "the beginning"], ["offset", "offset"], ["time", "time (UTC)"]];

export function show(view, topic) {
  const found = new Found(view, topic);
  const asked = asking(view, topic, found);
  view.add(h("section", { class: "list" }, asked, found.progress, found.table, found.nothing));
  found.search(wanted(view.query));
}

/** What the form asks for, from the address. */
function wanted(query) {
  const word = (it, otherwise = "") => query.get(it) ?? otherwise;
  return { in: word("in"), from: word("from", "newest"), place: word("place"), key: word("key"), text: word("text"),
    header: word("header"), limit: Math.min(500, Math.max(1, Number(word("n", "100")) || 100)) };
}

function asking(view, topic, found) {
  const now = wanted(view.query);
  const input = (key, given) => h("input", { id: `ask-${key}`, name: key, value: now[key], autocomplete: "off", spellcheck: "false", ...given });
  const place = input("place", { "aria-label": "Which offset or time", placeholder: "0" });
  const from = h("select", { id: "ask-from", name: "from", onchange: () => fits() }, PLACES.map(([value, text]) =>
    h("option", { value, selected: value === now.from }, text)));
  const fits = () => {
    place.hidden = from.value === "newest" || from.value === "earliest";
    place.placeholder = from.value === "time" ? "2026-11-28 14:00" : "0";
  };
  const field = (key, label, element) => h("div", { class: "field" }, h("label", { for: `ask-${key}` }, label), element);
  const form = h("form", {
    class: "asking-form",
    onsubmit: (event) => {
      event.preventDefault();
      const it = Object.fromEntries(new FormData(form));
      view.remember({ in: it.in.trim(), from: it.from === "newest" ? "" : it.from, place: place.hidden ? "" : it.place.trim(),
        key: it.key, text: it.text, header: it.header, n: it.n === "100" ? "" : it.n });
      found.search(wanted(view.query));
    },
  },
  field("from", "From", h("span", { class: "pair" }, from, place)),
  field("in", "Partitions", input("in", { placeholder: "all, or 0,2" })),
  field("key", "Key is", input("key")),
  field("text", "Contains", input("text", { "data-filter": "1" })),
  field("header", "Header", input("header", { placeholder: "name or name=value" })),
  field("n", "At most", h("select", { id: "ask-n", name: "n" }, [20, 100, 500].map((it) =>
    h("option", { value: String(it), selected: it === now.limit }, `${it} records`)))),
  h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Search"),
    button("Follow", () => found.follow(), { title: "Show records as they are appended" })));
  fits();
  return form;
}

/** Rows that were found or came, and where the search stands. */
class Found {
  constructor(view, topic) {
    this.view = view;
    this.topic = topic;
    this.rows = [];
    this.state = "idle"; // searching, done, stopped, following, paused, failed
    this.error = "";
    this.cursor = null;
    this.ends = null;
    this.dropped = 0;
    this.busy = null;
    this.timer = 0;
    this.progress = h("div", { class: "progress", role: "status" });
    this.body = h("tbody");
    this.table = h("div", { class: "scroller records", tabindex: "0", role: "region", "aria-label": "Records", hidden: true },
      h("table", null, h("caption", { class: "offscreen" }, "Records"), h("thead", null, this.head = h("tr")), this.body));
    this.nothing = h("div", { class: "empty", hidden: true });
  }

  search(asked) {
    this.begin();
    this.asked = asked;
    this.rows = [];
    this.looked = { records: 0n, bytes: 0n };
    this.cursor = null;
    this.ends = null;
    this.run(() => bodyOf(asked));
  }

  /** Search on from where the last one ended. */
  goOn() {
    this.begin();
    this.run(() => ({ ...bodyOf(this.asked), from: { cursor: this.cursor } }));
  }

  begin() {
    this.busy?.abort();
    this.busy = new AbortController();
    this.error = "";
    this.dropped = 0;
  }

  async run(body) {
    const { signal } = this.busy;
    this.state = "searching";
    this.draw();
    let last = null;
    try {
      const given = body();
      await askLines(path("topics", this.topic, "search"), { body: given, signal: AbortSignal.any([signal, this.view.signal]) }, (line) => {
        if (line.record) this.take([line.record]);
        if (line.error) throw new Error(line.error);
        if (line.scanned_to) last = line;
      });
      if (signal.aborted) return;
      this.state = "done";
    } catch (error) {
      if (this.view.signal.aborted || (signal.aborted && this.state !== "stopped")) return;
      if (error.name !== "AbortError") {
        this.state = "failed";
        this.error = error.message;
      }
    }
    if (last) {
      this.cursor = last.more ? last.cursor : null;
      this.ends = last.scanned_to;
      this.looked.records += BigInt(last.scanned_records ?? 0);
      this.looked.bytes += BigInt(last.scanned_bytes ?? 0);
    }
    this.drawNow();
  }

  stop() {
    this.state = "stopped";
    this.busy?.abort();
    this.drawNow();
  }

  follow() {
    this.begin();
    this.rows = [];
    this.held = [];
    this.looked = { records: 0n, bytes: 0n };
    this.cursor = null;
    this.asked = wanted(this.view.query);
    this.state = "following";
    this.drawNow();
    tail(path("topics", this.topic, "tail"), {}, (event, data) => {
      if (event === "refused") {
        this.busy.abort();
        this.state = "failed";
        this.error = data.error;
        this.draw();
      } else {
        this.arrived(data.records ?? [], data.dropped);
      }
    }, (sentence) => {
      this.error = sentence;
      this.draw();
    }, AbortSignal.any([this.busy.signal, this.view.signal]));
  }

  arrived(records, dropped) {
    this.dropped += dropped;
    if (this.state === "paused") {
      this.held.push(...records);
      this.dropped += Math.max(0, this.held.length - TAIL_ROWS);
      this.held = this.held.slice(-TAIL_ROWS);
      this.draw();
      return;
    }
    this.rows = [...records.reverse(), ...this.rows].slice(0, TAIL_ROWS);
    this.draw();
  }

  pause() {
    if (this.state === "paused") {
      this.state = "following";
      this.arrived(this.held.splice(0), 0);
    } else {
      this.state = "paused";
    }
    this.drawNow();
  }

  take(records) {
    this.rows.push(...records);
    if (this.rows.length > ROWS_MAX) this.rows.splice(0, this.rows.length - ROWS_MAX);
    this.draw();
  }

  /** Soon, once for all that comes until then. */
  draw() {
    this.timer ||= setTimeout(() => this.drawNow(), DRAW_MS);
  }

  drawNow() {
    clearTimeout(this.timer);
    this.timer = 0;
    if (this.view.signal.aborted) return;
    const live = this.state === "following" || this.state === "paused";
    const { rows } = this;
    const utc = choice("utc", true);
    put(this.head, h("th", { scope: "col", class: "number" }, "Partition"), h("th", { scope: "col", class: "number" }, "Offset"),
      h("th", { scope: "col" }, button(utc ? "Time (UTC)" : "Time (local)", () => {
        choose("utc", !utc);
        this.drawNow();
      }, { class: "sorts", title: "Show times in UTC or by this computer's clock" })),
      h("th", { scope: "col" }, "Key"), h("th", { scope: "col" }, "Value"), h("th", { scope: "col", class: "number" }, "Headers"),
      h("th", { scope: "col", class: "number" }, "Size"));
    put(this.body, rows.map((it) => this.row(it, utc)));
    this.table.hidden = rows.length === 0;
    this.drawNothing(rows, live);
    put(this.progress, live ? this.followed() : this.searched());
  }

  row(it, utc) {
    const href = to("topics", this.topic, "records", it.partition, it.offset);
    return h("tr", { "data-key": `${it.partition}:${it.offset}` },
      h("td", { class: "number" }, String(it.partition)),
      h("td", { class: "number" }, link(href, grouped(it.offset))),
      h("td", { class: "mono" }, moment(it.time_ms, utc)),
      h("td", { class: "key-cell" }, content(it.key, "none")),
      h("td", { class: "value" }, content(it.value_preview, "deleted")),
      h("td", { class: "number" }, it.headers_total ? grouped(it.headers_total) : "–"),
      h("td", { class: "number" }, it.value_bytes === null || it.value_bytes === undefined ? "–" : size(it.value_bytes)));
  }

  drawNothing(rows, live) {
    this.nothing.hidden = rows.length > 0 || this.state === "searching" || this.state === "failed";
    if (this.nothing.hidden) return;
    if (live) put(this.nothing, aside("Nothing was appended since. It shows here within half a second."));
    else if (this.cursor) put(this.nothing, h("p", null, "No such record was found as far as this search looked. Continue to look further."));
    else if (this.asked.key || this.asked.text || this.asked.header) put(this.nothing, h("p", null, "No record is like that."));
    else put(this.nothing, h("p", null, "There are no records here. Append one:"), commandLine(`echo hello | ${command("logstore", "produce", [this.topic])}`));
  }

  searched() {
    const { records, bytes } = this.looked;
    const shown = counted(this.rows.length, "record");
    const ends = this.ends && Object.entries(this.ends);
    return [
      h("span", null, this.state === "searching" ? `Looking … ${shown} so far` : this.state === "stopped" ? `Stopped: ${shown}` : shown),
      records > 0n && dim(`looked at ${grouped(records)} (${size(bytes)})`),
      ends?.length && ends.length <= 6 && dim(this.asked.from === "newest" ? "down to " : "up to ", ends.map(([it, offset], at) => `${at ? ", " : ""}${it}:${grouped(offset)}`).join("")),
      this.state === "done" && !this.cursor && dim(this.asked.from === "newest" ? "from the end to the beginning" : "to the end"),
      this.error && h("span", { class: "error" }, visible(this.error)),
      this.state === "searching" && button("Stop", () => this.stop(), { class: "small" }),
      this.cursor && this.state !== "searching" && button("Continue", () => this.goOn(), { class: "small primary" }),
      h("span", { class: "gap" }), this.exports(),
    ];
  }

  followed() {
    const waits = this.state === "paused" && this.held.length ? `, ${grouped(this.held.length)} more came` : "";
    return [
      h("span", null, this.state === "paused" ? `Paused${waits}` : "Following the end"),
      dim(`showing ${counted(this.rows.length, "record")}, at most ${TAIL_ROWS}`),
      this.dropped > 0 && h("span", { class: "error" }, `${grouped(this.dropped)} came too fast and were left out`),
      this.error && h("span", { class: "error" }, visible(this.error)),
      button(this.state === "paused" ? "Go on" : "Pause", () => this.pause(), { class: "small" }),
      button("Clear", () => {
        this.rows = [];
        this.drawNow();
      }, { class: "small" }),
      button("Stop", () => this.search(this.asked), { class: "small" }),
      h("span", { class: "gap" }), this.exports(),
    ];
  }

  exports() {
    if (!this.rows.length) return null;
    return [button("JSON", () => this.save("json"), { class: "small", title: "Save these records as lines of JSON, values whole" }),
      button("CSV", () => this.save("csv"), { class: "small", title: "Save these records as CSV, values whole" })];
  }

  /** A file of what is shown, with whole values. */
  async save(kind) {
    const rows = [...this.rows];
    try {
      const whole = [];
      let bytes = 0;
      for (const it of rows) {
        bytes += Number(it.value_bytes ?? 0);
        if (bytes > SAVED_BYTES_MAX) break;
        const cut = it.truncated || it.headers_total > it.headers.length;
        whole.push(cut ? await ask(path("topics", this.topic, "records", it.partition, it.offset), { signal: this.view.signal }) : it);
      }
      if (whole.length < rows.length) said(`Saved the first ${counted(whole.length, "record")}: all of them would be more than ${size(SAVED_BYTES_MAX)}.`, "bad");
      const lines = kind === "json" ? whole.map((it) => JSON.stringify(asJson(it)))
        : [["partition", "offset", "time", "key", "value", "headers"].join(","), ...whole.map(asCsv)];
      download(`${this.topic}-${clock(Date.now()).replaceAll(":", "")}.${kind === "json" ? "ndjson" : "csv"}`,
        kind === "json" ? "application/x-ndjson" : "text/csv", [`${lines.join("\n")}\n`]);
    } catch (error) {
      if (error.name !== "AbortError") said(`Not saved: ${error.message}.`, "bad");
    }
  }
}

const valueOf = (it) => ("value" in it ? it.value : it.value_preview);
const textOf = (it) => (it === null || it === undefined ? null : it.text ?? it.base64 ?? it);

const asJson = (it) => ({ partition: it.partition, offset: it.offset, time: moment(it.time_ms), key: it.key, value: valueOf(it), headers: it.headers });

function asCsv(it) {
  const headers = (it.headers ?? []).map(([key, value]) => `${key}=${textOf(value) ?? ""}`).join("\n");
  return [it.partition, it.offset, moment(it.time_ms), textOf(it.key), textOf(valueOf(it)), headers].map(csvField).join(",");
}

/** A key or a value in a line; null is said by a word. */
export function content(it, nothing) {
  if (it === null || it === undefined) return dim(nothing);
  if (it.base64 !== undefined) return h("span", { class: "preview-text dim", title: "not UTF-8: shown as base64" }, it.base64.slice(0, 200));
  const text = it.text ?? String(it);
  return text === "" ? dim("empty") : h("bdi", { class: "preview-text" }, visible(text.slice(0, 300)));
}

/** The body of a search. Raises Error where the form asks for what is none. */
function bodyOf(asked) {
  const body = { from: placeOf(asked), limit: asked.limit };
  if (asked.in) {
    body.partitions = asked.in.split(",").map((it) => it.trim()).filter(Boolean).map((it) => {
      if (!/^\d{1,9}$/.test(it)) throw new Error(`partitions are numbers, such as 0,2: not ${it}`);
      return Number(it);
    });
  }
  for (const word of ["key", "text"]) if (asked[word]) body[word] = asked[word];
  if (asked.header) {
    const [key, value] = asked.header.split(/=(.*)/s);
    body.header = value === undefined ? { name: key } : { name: key, value };
  }
  return body;
}

function placeOf({ from, place, limit }) {
  if (from === "earliest") return { offset: "0" };
  if (from === "offset") {
    if (!/^\d{1,19}$/.test(place)) throw new Error("an offset is a whole number, such as 1200");
    return { offset: place };
  }
  if (from === "time") return { time_ms: timeOf(place) };
  return { last: limit };
}

/** Milliseconds since 1970 of a time in UTC, unless it says another zone; or as such a number. */
export function timeOf(text) {
  if (/^\d{11,}$/.test(text)) return Number(text);
  const given = text.trim().replace(" ", "T");
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(given) ? given : /T/.test(given) ? `${given}Z` : `${given}T00:00Z`;
  const ms = Date.parse(zoned);
  if (Number.isNaN(ms)) throw new Error("a time is as in 2026-11-28 14:00");
  return ms;
}
