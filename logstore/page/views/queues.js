// Queues: what waits in them, who takes it, and one of them with its messages.

import { ask, path } from "../api.js";
import { chart } from "../charts.js";
import { danger, form } from "../dialogs.js";
import { aside, badge, button, dim, facts, h, link, named } from "../dom.js";
import { column, number, plainTable } from "../list.js";
import { go, to } from "../router.js";
import { ago, command, counted, grouped, perSecond, rate, size, visible } from "../texts.js";
import { publish } from "./publish.js";
import { chosen, inArguments, inVhost, tableOf, vhosts } from "./vhosts.js";

const TABS = [["messages", "Messages"], ["past", "Past"], ["consumers", "Consumers"], ["bindings", "Bindings"], ["details", "Details"], ["danger", "Danger"]];

export async function show(view) {
  if (view.names.length < 2) {
    all(view);
    return;
  }
  const [vhost, queue, tab = "messages", position] = view.names;
  const crumbs = [["Queues", to("queues")], ...(vhost === "/" ? [] : [[vhost, to("queues", { v: vhost })]])];
  view.heading(position === undefined ? [...crumbs, queue] : [...crumbs, [queue, to("queues", vhost, queue)], `message ${position}`],
    link(to("routing", { v: vhost, focus: `queue:${queue}` }), "How messages get here"),
    button("Publish a message", () => publish(vhost, "", queue)));
  if (position !== undefined) {
    const message = await import("./message.js");
    message.show(view, vhost, queue, position, tab === "past");
    return;
  }
  summary(view, vhost, queue);
  view.tabs(TABS.map(([word, title]) => [word, title, word === "messages" ? to("queues", vhost, queue) : to("queues", vhost, queue, word)]), tab);
  if ((tab === "messages" || tab === "past") && (await isStream(view, vhost, queue))) return;
  if (tab === "messages") {
    const messages = await import("./messages.js");
    messages.show(view, vhost, queue);
  } else if (tab === "past") {
    const past = await import("./past.js");
    past.show(view, vhost, queue);
  } else if (tab === "consumers") consumers(view, vhost, queue);
  else if (tab === "bindings") bindings(view, vhost, queue);
  else if (tab === "details") details(view, vhost, queue);
  else if (tab === "danger") dangers(view, vhost, queue);
  else view.add(h("div", { class: "empty" }, h("p", null, "A queue has no such part.")));
}

/** Whether it is a stream: then where its messages are is shown. */
async function isStream(view, vhost, queue) {
  const it = await ask(path("queues", queue), { query: { vhost }, signal: view.signal }).catch(() => null); // the summary says why
  if (!it?.topic) return false;
  view.add(h("p", null, "It is a stream: its messages are the records of topic ", link(to("topics", it.topic), named(it.topic)), "."));
  return true;
}

function all(view) {
  view.heading(["Queues"], button("Declare a queue", () => declare(chosen(view))));
  const rows = view.list({
    caption: "Queues",
    noun: "queue",
    path: "queues",
    query: () => ({ vhost: view.query.get("v") }),
    controls: vhosts(view, () => rows.refresh()),
    key: (it) => JSON.stringify([it.vhost, it.name]),
    sort: "name",
    pins: { kind: "queues", label: (key) => JSON.parse(key)[1], href: (key) => to("queues", ...JSON.parse(key)) },
    tone: (it) => (it.error ? "bad" : forNobody(it) ? "warn" : null),
    columns: [
      column("name", "Name", (it, row) => [link(to("queues", row.vhost, it), named(it)), row.vhost === "/" ? null : [" ", dim(["in ", named(row.vhost)])]], { wide: true }),
      number("ready", "Ready", grouped, { help: "Messages that wait to be taken" }),
      number("unacked", "Unacked", grouped, { help: "Given out, and not acknowledged yet" }),
      number("consumers", "Consumers", (it, row) => (forNobody(row) ? h("span", { class: "bad-text" }, "0") : grouped(it))),
      number("in_per_s", "In /s", rate),
      number("out_per_s", "Out /s", rate),
      number("ack_per_s", "Acked /s", rate),
      number("oldest_ms", "Oldest", (it) => ago(it)),
      number("bytes", "Size", size),
      column("", "", (row) => marks(row)),
    ],
    empty: ["There is no queue yet. Declare one:", command("logstore", "queue", "declare", ["mail"], ...inVhost(chosen(view)))],
  });
}

/** Whether messages wait, and nobody takes them. A stream keeps what it has. */
function forNobody(row) {
  return row.ready > 0 && row.consumers === 0 && row.type !== "stream";
}

/** What is special about it, in a word each. */
function marks(row) {
  if (row.error) return h("span", { class: "error" }, visible(row.error));
  const words = [[row.type === "stream", "stream"], [!row.durable, "not durable"], [row.exclusive, "exclusive"], [row.auto_delete, "auto-delete"],
    [row.arguments["x-message-ttl"] !== undefined, "expires"], [row.arguments["x-max-priority"] !== undefined, "priorities"],
    [row.arguments["x-dead-letter-exchange"] !== undefined, "dead letters"]];
  const state = row.state && row.state !== "running" ? badge(row.state, "warn") : null;
  return [state, words.filter(([is]) => is).map(([, word]) => [badge(word), " "]), row.policy ? badge(["policy ", named(row.policy)]) : null];
}

function summary(view, vhost, queue) {
  view.part({
    path: path("queues", queue),
    query: { vhost },
    show: (it) => [
      it.error ? h("p", { class: "error" }, visible(it.error)) : null,
      facts([
        ["Ready", grouped(it.ready)], ["Unacked", grouped(it.unacked)], ["Consumers", grouped(it.consumers)],
        ["In", perSecond(it.in_per_s)], ["Out", perSecond(it.out_per_s)], ["Acked", perSecond(it.ack_per_s)],
        ["Oldest message", ago(it.oldest_ms)], ["Size", size(it.bytes)],
      ]),
      it.history ? flows(it.history) : null,
    ],
  });
}

function flows(history) {
  const series = [["in", "in"], ["out", "out"], ["acked", "third"]].filter(([name]) => history[name])
    .map(([name, tone]) => ({ name, tone, values: history[name] }));
  return series.some(({ values }) => values.some((it) => it !== null)) ? chart("The last hour", series, history.step_s) : null;
}

function consumers(view, vhost, queue) {
  view.list({
    caption: "Consumers",
    noun: "consumer",
    path: path("queues", queue, "consumers"),
    query: { vhost },
    sorts: false,
    filter: false,
    key: (it) => `${it.channel} ${it.tag}`,
    columns: [
      column("tag", "Tag", named),
      column("channel", "Channel", named, { wide: true }),
      number("unacked", "Unacked"),
      number("prefetch", "Prefetch", (it) => (it === 0 ? "any" : grouped(it)), { help: "How many may be unacked at once" }),
      number("priority", "Priority"),
      column("", "", (it) => [it.no_ack ? badge("needs no ack") : null, it.exclusive ? badge("exclusive") : null, it.active ? null : badge("waits for its turn")]),
    ],
    empty: ["Nobody consumes this queue. Consume it:", command("logstore", "queue", "consume", [queue], ...inVhost(vhost))],
  });
}

function bindings(view, vhost, queue) {
  const rows = view.list({
    caption: "Bindings",
    noun: "binding",
    path: path("queues", queue, "bindings"),
    query: { vhost },
    sorts: false,
    regex: false,
    key: (it) => `${it.source} ${it.id}`,
    controls: button("Bind …", () => bind(vhost, queue, () => rows.refresh()), { class: "small" }),
    columns: [
      column("source", "From exchange", (it) => (it === "" ? dim("the default one") : link(to("routing", { v: vhost, focus: `exchange:${it}` }), named(it)))),
      column("key", "Routing key", (it) => (it === "" ? dim("none") : h("bdi", { class: "mono" }, visible(it)))),
      column("arguments", "Arguments", (it) => (Object.keys(it).length ? h("span", { class: "mono" }, visible(JSON.stringify(it))) : ""), { wide: true }),
      column("", "", (it) => (it.source === "" ? null : button("Unbind …", () => unbind(vhost, queue, it, () => rows.refresh()), { class: "small danger" }))),
    ],
    empty: ["Nothing is bound to it."],
  });
}

function details(view, vhost, queue) {
  view.part({
    path: path("queues", queue),
    query: { vhost },
    show: (it) => [
      h("h3", null, "Arguments"),
      facts([["Durable", yes(it.durable)], ["Exclusive", yes(it.exclusive)], ["Deleted after its last consumer", yes(it.auto_delete)],
        ...Object.entries(it.arguments).map(([name, value]) => [visible(name), h("span", { class: "mono" }, visible(typeof value === "string" ? value : JSON.stringify(value)))])]),
      h("h3", null, "Limits"),
      it.policy === null ? aside("No policy counts for it: its limits are those of its arguments.")
        : aside("Of its arguments and of policy ", named(it.policy), " together:"),
      facts(limits(it.limits)),
      h("h3", null, "Dead letters"),
      it.dead_letters.exchange === null ? aside("Messages that are rejected, expire or are too many are gone.")
        : facts([["Go to exchange", it.dead_letters.exchange === "" ? dim("the default one") : link(to("routing", { v: vhost, focus: `exchange:${it.dead_letters.exchange}` }), named(it.dead_letters.exchange))],
          ["With key", it.dead_letters.routing_key === null ? dim("their own") : named(it.dead_letters.routing_key)], ["Strategy", it.dead_letters.strategy],
          ["On their way", grouped(it.dead_letters.here)], ["Dropped", grouped(it.dead_letters.dropped)]]),
      it.repeats ? [h("h3", null, "Repeats"), facts([["Kept out", grouped(it.repeats.kept_out)], ["Ids known", grouped(it.repeats.ids)], ["Ids forgotten early", grouped(it.repeats.forgotten)]])] : null,
      it.ordering ? [h("h3", null, "Order by key"), facts([["Key", named(it.ordering.key)], ["Of one key at once", it.ordering.prefetch ? grouped(it.ordering.prefetch) : dim("any number")],
        ["Keys in use", grouped(it.ordering.keys)], ["Messages that wait for others of their key", grouped(it.ordering.waiting)]])] : null,
      h("h3", null, "What is on disk"),
      plainTable("Lanes: one for each priority", [
        number("priority", "Priority"), number("ready", "Ready"), number("unacked", "Unacked"),
        number("start", "First offset", grouped), number("floor", "Settled below", grouped), number("end", "End", grouped), number("bytes", "Size", size),
      ], it.lanes, { key: (one) => String(one.priority) }),
      it.counts ? [h("h3", null, "Since the server began"), facts(Object.entries(it.counts).map(([name, value]) => [name.replaceAll("_", " "), grouped(value)]))] : null,
    ],
  });
}

/** Those that there are, in words. */
const limits = (of) => Object.entries(of).filter(([, value]) => value !== null)
  .map(([name, value]) => [name.replaceAll("_", " "), typeof value === "number" ? grouped(value) : visible(value)]);

const yes = (it) => (it ? "yes" : "no");

function dangers(view, vhost, queue) {
  const block = (title, text, act) => h("section", { class: "panel" }, h("h2", null, title), aside(text), act);
  view.add(
    block("Move messages", "Publish the messages that are ready to an exchange, and take them from here: each of them is in one of both places at any time.",
      button("Move …", () => move(vhost, queue))),
    block("Purge", "Delete all messages that are ready. Those that consumers hold stay.",
      button("Purge …", () => purge(vhost, queue), { class: "danger" })),
    block("Delete", "Delete the queue with all of its messages and bindings.",
      button("Delete queue …", () => remove(vhost, queue), { class: "danger" })),
  );
}

function declare(vhost) {
  form({
    title: "Declare a queue",
    verb: "Declare",
    fields: [
      { name: "name", label: "Name", required: true, given: { maxlength: 255 } },
      { name: "durable", label: "Durable: it stays when the server is started anew", type: "checkbox", value: true },
      { name: "ttl", label: "Messages expire after (ms)", type: "number", given: { min: 0 }, help: "Empty: never." },
      { name: "length", label: "Messages at most", type: "number", given: { min: 0 }, help: "Empty: any number. Beyond it the oldest one goes." },
      { name: "dead", label: "Dead letters go to exchange", given: { maxlength: 255 }, help: "Empty: nowhere." },
      { name: "priorities", label: "Highest priority", type: "number", given: { min: 1, max: 255 }, help: "Empty: no priorities." },
      { name: "arguments", label: "More arguments, in JSON", type: "textarea", rows: 2, value: "" },
    ],
    command: (it) => command("logstore", "queue", "declare", [it.name || "NAME"], ...(it.durable ? [] : ["--transient"]), ...inArguments(argumentsOf(it)), ...inVhost(vhost)),
    act: async (it) => {
      await ask(path("queues", it.name), { method: "PUT", query: { vhost }, body: { durable: it.durable, arguments: argumentsOf(it) } });
      go(to("queues", vhost, it.name));
      return `Declared queue ${visible(it.name)}.`;
    },
  });
}

function argumentsOf(it) {
  const found = tableOf(it.arguments);
  if (it.ttl !== "") found["x-message-ttl"] = Number(it.ttl);
  if (it.length !== "") found["x-max-length"] = Number(it.length);
  if (it.priorities !== "") found["x-max-priority"] = Number(it.priorities);
  if (it.dead !== "") found["x-dead-letter-exchange"] = it.dead;
  return found;
}

function bind(vhost, queue, done) {
  form({
    title: `Bind ${visible(queue)} to an exchange`,
    verb: "Bind",
    fields: [
      { name: "source", label: "Exchange", required: true, given: { maxlength: 255 } },
      { name: "key", label: "Routing key", given: { maxlength: 255 }, help: "Of a topic exchange a pattern: order.* or order.#" },
      { name: "arguments", label: "Arguments, in JSON", type: "textarea", rows: 2, value: "", help: "Of a headers exchange: {\"x-match\": \"all\", \"country\": \"ch\"}" },
    ],
    command: (it) => command("logstore", "exchange", "bind", [it.source || "EXCHANGE", queue], ...(it.key ? ["--key", it.key] : []), ...inArguments(tableOf(it.arguments)), ...inVhost(vhost)),
    act: async (it) => {
      await ask("bindings", { method: "POST", query: { vhost }, body: { source: it.source, destination: queue, kind: "queue", key: it.key, arguments: tableOf(it.arguments) } });
      done();
      return `Bound queue ${visible(queue)} to exchange ${visible(it.source)}.`;
    },
  });
}

function unbind(vhost, queue, it, done) {
  const body = { source: it.source, destination: queue, kind: "queue", key: it.key, id: it.id };
  danger({
    verb: "Unbind queue",
    object: queue,
    irreversible: "",
    effect: async (signal) => {
      await ask("bindings", { method: "DELETE", query: { vhost }, body: { ...body, dry_run: true }, signal });
      return h("p", null, "Messages that exchange ", named(it.source), " gets with key ", named(it.key || "(none)"), " do not come here by this binding any more. No message is deleted.");
    },
    command: command("logstore", "exchange", "unbind", [it.source, queue], ...(it.key ? ["--key", it.key] : []), ...inArguments(it.arguments), ...inVhost(vhost)),
    act: async () => {
      await ask("bindings", { method: "DELETE", query: { vhost }, body });
      done();
      return `Unbound queue ${visible(queue)} from exchange ${visible(it.source)}.`;
    },
  });
}

function move(vhost, queue) {
  const body = (it, dry) => ({ to_exchange: it.to, ...(it.key === "" ? {} : { key: it.key }), ...(it.limit === "" ? {} : { limit: Number(it.limit) }), dry_run: dry });
  form({
    title: `Move messages of ${visible(queue)}`,
    verb: "Move",
    danger: true,
    fields: [
      { name: "to", label: "To exchange", given: { maxlength: 255 }, help: "Empty: the default one, whose key is the name of a queue." },
      { name: "key", label: "Routing key", given: { maxlength: 255 }, help: "Empty: each message keeps its own." },
      { name: "limit", label: "Messages at most", type: "number", given: { min: 1 }, help: "Empty: all that are ready now." },
    ],
    preview: async (it, signal) => {
      const told = await ask(path("queues", queue, "move"), { method: "POST", query: { vhost }, body: body(it, true), signal });
      return h("p", null, h("b", null, counted(told.moved, "message")), " would be moved.",
        told.unrouted ? h("span", { class: "error" }, ` ${counted(told.unrouted, "message")} would go nowhere, and stay here.`) : null);
    },
    act: async (it) => {
      const told = await ask(path("queues", queue, "move"), { method: "POST", query: { vhost }, body: body(it, false) });
      const rest = told.unrouted + told.refused;
      return `Moved ${counted(told.moved, "message")} of queue ${visible(queue)}${rest ? `; ${grouped(rest)} stayed, since no queue takes them` : ""}.`;
    },
  });
}

function purge(vhost, queue) {
  let about = null;
  danger({
    verb: "Purge queue",
    object: queue,
    effect: async (signal) => {
      about = await ask(path("queues", queue, "purge"), { method: "POST", query: { vhost }, body: { dry_run: true }, signal });
      return h("p", null, h("b", null, counted(about.purged, "message")), " would be deleted for good.");
    },
    type: () => about.purged > 0,
    command: command("logstore", "queue", "purge", [queue], ...inVhost(vhost)),
    act: async () => {
      const told = await ask(path("queues", queue, "purge"), { method: "POST", query: { vhost }, body: {} });
      return `Deleted ${counted(told.purged, "message")} of queue ${visible(queue)}.`;
    },
  });
}

function remove(vhost, queue) {
  let about = null;
  danger({
    verb: "Delete queue",
    object: queue,
    effect: async (signal) => {
      about = await ask(path("queues", queue), { method: "DELETE", query: { vhost }, body: { dry_run: true }, signal });
      return h("p", null, h("b", null, counted(BigInt(about.ready) + BigInt(about.unacked), "message")), ` would be deleted, and ${counted(about.bindings, "binding")}. `,
        about.consumers ? `${counted(about.consumers, "consumer")} would be cancelled.` : "Nobody consumes it.");
    },
    type: () => about.ready + about.unacked > 0,
    command: command("logstore", "queue", "delete", [queue], ...inVhost(vhost)),
    act: async () => {
      await ask(path("queues", queue), { method: "DELETE", query: { vhost }, body: {} });
      go(to("queues", { v: vhost === "/" ? "" : vhost }));
      return `Deleted queue ${visible(queue)}.`;
    },
  });
}
