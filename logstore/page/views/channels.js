// Channels: who listens to what, what goes by, and a word of one's own.

import { ask, path } from "../api.js";
import { sparkline } from "../charts.js";
import { form } from "../dialogs.js";
import { badge, button, commandLine, dim, h, link, named, put } from "../dom.js";
import { column, number } from "../list.js";
import { tail } from "../live.js";
import { to } from "../router.js";
import { clock, command, counted, grouped, rate, size, visible } from "../texts.js";

const KEPT = 500; // messages of a tail
const SHOWN_CHARS = 2000;

export function show(view) {
  const [kind, name] = view.names;
  if (kind === "channel" || kind === "pattern") listening(view, kind, name ?? "");
  else all(view);
}

function all(view) {
  const word = h("input", { "aria-label": "Channel or pattern", placeholder: "channel or pattern: news.*", autocomplete: "off" });
  view.heading(["Channels"], h("form", { class: "actions", onsubmit: (event) => {
    event.preventDefault();
    const text = word.value.trim();
    if (text) location.hash = to("channels", /[*?[]/.test(text) ? "pattern" : "channel", text);
  } }, word, h("button", { class: "primary" }, "Listen")), button("Publish a message", () => publish("")));
  view.list({
    caption: "Channels and patterns",
    noun: "channel or pattern",
    plural: "channels and patterns",
    path: "channels",
    key: (it) => `${it.kind} ${it.name}`,
    sort: "name",
    pins: { kind: "channels", label: (key) => key.split(/ (.*)/s)[1], href: (key) => to("channels", ...key.split(/ (.*)/s).slice(0, 2)) },
    columns: [
      column("name", "Name", (it, row) => it === "" ? dim("no name") // such a one, and a sharded one, cannot be listened to here
        : row.kind === "sharded" ? named(it) : link(to("channels", row.kind, it), named(it)), { wide: true }),
      column("kind", "Kind", (it) => (it === "channel" ? dim(it) : badge(it))),
      number("subscribers", "Subscribers"),
      number("patterns", "By patterns", grouped, { help: "Those who get its messages by a pattern" }),
      number("in_per_s", "In /s", rate),
      column("history", "The last hour", (it) => (it && it.in?.some((one) => one !== null) ? sparkline(it.in, "messages") : ""), { sort: false }),
    ],
    empty: ["Nobody listens to a channel now. Listen to one:", command("logstore", "channel", "subscribe", ["news"])],
  });
}

/** What goes by, since we listen. Nothing is kept but here. */
function listening(view, kind, name) {
  const rows = [];
  const state = { paused: false, wrap: false, total: 0, dropped: 0, behind: 0 };
  const told = h("span", { class: "dim", role: "status" });
  const broken = h("p", { class: "note", hidden: true });
  const body = h("tbody");
  const pause = button("Pause", () => {
    state.paused = !state.paused;
    state.behind = 0;
    draw();
  });
  const wrap = button("Wrap", () => {
    state.wrap = !state.wrap;
    draw();
  }, { class: "small toggle" });
  view.heading([["Channels", to("channels")], name], kind === "channel" ? button("Publish a message", () => publish(name)) : null);
  const empty = h("div", { class: "empty" }, h("p", null, "Nothing has come yet. Publish something:"), commandLine(command("logstore", "channel", "publish", [kind === "channel" ? name : "news", "hello"])));
  const table = h("div", { class: "scroller tail", tabindex: "0", role: "region", "aria-label": "Messages" }, h("table", null,
    h("caption", { class: "offscreen" }, "Messages, the newest first"),
    h("thead", null, h("tr", null, ["Time (UTC)", "Channel", "Size", "Message"].map((it) => h("th", { scope: "col" }, it)))), body));
  view.add(h("section", { class: "list" }, h("div", { class: "bar-above" }, h("span", null, kind === "pattern" ? "Listening by a pattern" : "Listening"), pause,
    button("Clear", () => {
      rows.length = 0;
      state.total = state.dropped = state.behind = 0;
      draw();
    }), wrap, told), broken, table, empty));

  function draw() {
    pause.textContent = state.paused ? "Go on" : "Pause";
    wrap.setAttribute("aria-pressed", String(state.wrap));
    table.classList.toggle("wraps", state.wrap);
    told.textContent = [counted(state.total, "message"), state.total > rows.length && `the last ${rows.length} shown`,
      state.dropped && `${grouped(state.dropped)} left out: too many to show`, state.paused && `paused, ${grouped(state.behind)} since`].filter(Boolean).join(" · ");
    table.hidden = rows.length === 0;
    empty.hidden = rows.length !== 0;
    put(body, rows.map((it) => h("tr", { "data-key": String(it.number) },
      h("td", null, clock(it.time_ms)), h("td", null, named(it.channel)), h("td", { class: "number" }, size(it.body_bytes)),
      h("td", { class: "wide" }, it.body.base64 === undefined ? h("bdi", { class: "preview-text" }, visible(it.body.text.slice(0, SHOWN_CHARS)))
        : h("span", { class: "preview-text dim", title: "not UTF-8: shown as base64" }, it.body.base64.slice(0, SHOWN_CHARS)), it.truncated ? dim(" …") : null))));
  }

  tail("channels/tail", { [kind]: name }, (event, data) => {
    if (event === "gap") state.dropped += Number(data?.dropped ?? 1);
    if (event === "refused") {
      put(broken, visible(data?.error ?? "You may not listen to it any more."));
      broken.hidden = false;
    }
    if (event !== "messages") return;
    const { messages, dropped } = data;
    state.total += messages.length;
    state.dropped += dropped;
    if (state.paused) {
      state.behind += messages.length;
      draw();
      return;
    }
    messages.forEach((it, at) => rows.unshift({ ...it, number: state.total - messages.length + at }));
    rows.length = Math.min(rows.length, KEPT);
    draw();
  }, (sentence) => {
    put(broken, sentence);
    broken.hidden = sentence === "";
  }, view.signal);
  draw();
}

function publish(channel) {
  form({
    title: channel ? `Publish to channel ${visible(channel)}` : "Publish a message",
    verb: "Publish",
    fields: [
      ...(channel ? [] : [{ name: "channel", label: "Channel", required: true }]),
      { name: "body", label: "Message", type: "textarea", value: "" },
      { name: "encoding", label: "The message is", type: "select", value: "text", options: [["text", "text"], ["base64", "bytes in base64"]] },
    ],
    command: (it) => it.encoding === "base64" ? null : command("logstore", "channel", "publish", [channel || it.channel || "CHANNEL", it.body]),
    act: async (it) => {
      const told = await ask(path("channels", channel || it.channel, "publish"), { method: "POST", body: { body: it.body, encoding: it.encoding } });
      return `Published: ${counted(told.subscribers, "subscriber")} got it.`;
    },
  });
}
