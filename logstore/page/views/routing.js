// Where messages go: exchanges, what is bound to them, queues; as a picture, and as a list.

import { ask, path } from "../api.js";
import { danger, form } from "../dialogs.js";
import { aside, badge, button, commandLine, dim, facts, h, link, named, put } from "../dom.js";
import { columnsOf, picture } from "../graph.js";
import { column, plainTable } from "../list.js";
import { to } from "../router.js";
import { command, counted, grouped, visible } from "../texts.js";
import { publish } from "./publish.js";
import { chosen, inVhost, tableOf, vhosts } from "./vhosts.js";

const TYPES = [["topic", "topic: by patterns of the key"], ["direct", "direct: by the key"], ["fanout", "fanout: to all"], ["headers", "headers: by the headers"]];
const FLAGS = { unbound: "no exchange brings it anything", "no-consumer": "nobody consumes it", "dead-letter-loop": "its dead letters may come back to it",
  missing: "it does not exist", "unknown-type": "its type is not installed", failed: "it does not work: its log is damaged or cannot be read" };
const flagOf = (flag, node) => (flag === "unbound" && node.kind === "exchange" ? "nothing is bound to it" : FLAGS[flag] ?? flag);
const EVERY_MS = 10_000;

export function show(view) {
  const state = { tried: null, graph: null, words: null };
  view.heading(["Routing"], vhosts(view, () => part.refresh(), { all: false }),
    button("Declare an exchange", () => declare(chosen(view), () => part.refresh())));
  const focus = () => view.query.get("focus") ?? "";
  const tries = h("div", { class: "bar-above" });
  const outcome = h("p", { class: "outcome", role: "status" });
  const body = h("div", { class: "drawing" });
  const about = h("div", { class: "about" });
  view.add(h("section", { class: "part" }, tries, outcome, h("div", { class: "body" }, body)), about);

  const exchange = h("input", { "aria-label": "Exchange", placeholder: "exchange", list: "exchanges", value: view.query.get("x") ?? "", autocomplete: "off" });
  const key = h("input", { "aria-label": "Routing key", placeholder: "routing key", value: view.query.get("k") ?? "", autocomplete: "off" });
  const headers = h("input", { "aria-label": "Headers, in JSON", placeholder: "headers: {\"country\": \"ch\"}", value: view.query.get("h") ?? "", autocomplete: "off" });
  const known = h("datalist", { id: "exchanges" });
  put(tries, h("form", { class: "trying", onsubmit: (event) => {
    event.preventDefault();
    view.remember({ x: exchange.value, k: key.value, h: headers.value });
    test();
  } }, h("span", null, "Where would a message go?"), exchange, known, key, headers, h("button", { class: "primary" }, "Try"),
  button("Clear", () => {
    view.remember({ x: "", k: "", h: "" });
    state.tried = null;
    put(outcome);
    draw();
  }, { class: "small" })));

  const part = view.part({
    path: "routing",
    apart: true,
    every: EVERY_MS,
    query: () => ({ vhost: chosen(view), focus: focus() }),
    show: (graph) => {
      state.graph = graph;
      put(known, graph.nodes.filter((it) => it.kind === "exchange").map((it) => h("option", { value: it.name })));
      draw();
      return [];
    },
  });
  part.fail = (error) => put(outcome, h("span", { class: "error" }, visible(error.message)));
  if (exchange.value || key.value) test();

  async function test() {
    try {
      state.tried = await ask("routing/test", { method: "POST", query: { vhost: chosen(view) }, signal: view.signal,
        body: { exchange: exchange.value, key: key.value, headers: tableOf(headers.value) } });
      const { queues, hidden } = state.tried;
      put(outcome, queues.length ? ["It would go to ", queues.slice(0, 20).map((it) => [link(to("queues", chosen(view), it), named(it)), " "])] : h("b", { class: "bad-text" }, "It would go nowhere: no binding takes it."),
        queues.length > 20 ? ` and ${counted(queues.length - 20, "more queue")}` : null, hidden ? ` and to ${counted(hidden, "queue")} that you may not see` : null);
    } catch (error) {
      if (error.name === "AbortError") return;
      state.tried = null;
      put(outcome, h("span", { class: "error" }, visible(error.message)));
    }
    draw();
  }

  function look(id) {
    view.remember({ focus: id });
    part.refresh();
  }

  function draw() {
    const { graph, tried } = state;
    if (!graph) return;
    const picked = graph.nodes.find((it) => it.id === focus());
    put(body,
      focus() ? h("p", null, "What leads to ", picked ? named(picked.name) : "it", " and from there on. ", button("Show all", () => look(""), { class: "small" })) : null,
      graph.nodes.length ? picture(graph, { path: tried?.path ?? null, picked: focus(), look }) : [h("p", null, "No exchange but those that are always there, and no queue. Declare one:"), commandLine(command("logstore", "exchange", "declare", ["shop"], "--type", "topic", ...inVhost(chosen(view))))],
      graph.cut ? aside("There is more than can be drawn: choose an exchange or a queue to see what belongs to it.") : null,
      graph.nodes.length ? h("details", { "data-key": "list" }, h("summary", null, "The same as a list"), asList(graph, look, chosen(view))) : null);
    put(about, picked ? panel(picked, graph, chosen(view), () => part.refresh(), () => look("")) : null);
  }
}

const labelOf = (edge) => edge.kind === "dead-letter" ? "dead letters" : edge.kind === "alternate" ? "what nothing takes"
  : edge.key ? edge.key : Object.keys(edge.arguments).length ? JSON.stringify(edge.arguments) : "everything";

function asList(graph, look, vhost) {
  const names = new Map(graph.nodes.map((it) => [it.id, it]));
  const from = Map.groupBy(graph.edges, (it) => it.from);
  return h("ul", { class: "tree" }, columnsOf(graph).flat().filter((it) => !it.passes).map((node) => h("li", { "data-key": node.id },
    `${node.kind} `, node.kind === "queue" ? link(to("queues", vhost, node.name), named(node.name)) : button(named(node.name), () => look(node.id), { class: "plain" }), ` ${node.type ?? ""}`,
    node.flags.map((it) => [" ", badge(flagOf(it, node), "warn")]),
    from.has(node.id) ? h("ul", null, from.get(node.id).map((edge) => h("li", null, h("bdi", { class: "mono" }, visible(labelOf(edge))), " → ", named(names.get(edge.to)?.name ?? edge.to)))) : null)));
}

/** What is chosen, in words, and what can be done with it. */
function panel(node, graph, vhost, changed, gone) {
  const out = graph.edges.filter((it) => it.from === node.id);
  const names = new Map(graph.nodes.map((it) => [it.id, it]));
  const queue = node.kind === "queue";
  return h("section", { class: "panel" },
    h("div", { class: "actions" }, h("h2", null, `${queue ? "Queue" : "Exchange"} `, named(node.name)), h("span", { class: "gap" }),
      queue ? h("a", { class: "button", href: to("queues", vhost, node.name) }, "Open the queue") : [
        button("Publish a message", () => publish(vhost, node.name, "")),
        button("Bind …", () => bind(vhost, node.name, changed)),
        node.name.startsWith("amq.") ? null : button("Delete …", () => remove(vhost, node.name, () => (gone(), changed())), { class: "danger" })]),
    facts(queue ? [["Ready", grouped(node.ready)], ["Unacked", grouped(node.unacked)], ["Consumers", grouped(node.consumers)]]
      : [["Type", node.type], ["Durable", node.durable ? "yes" : "no"], ["Bindings", grouped(node.bindings)],
        ...(node.waiting == null ? [] : [["Wait for their time", grouped(node.waiting)]])]),
    node.flags.length ? h("p", null, node.flags.map((it) => [badge(flagOf(it, node), "warn"), " "])) : null,
    out.length ? plainTable("Where it goes", [
      column("kind", "By", (it) => (it === "binding" ? "binding" : dim(it === "alternate" ? "alternate exchange" : "dead letters"))),
      column("key", "Routing key", (it) => (it ? h("bdi", { class: "mono" }, visible(it)) : dim("–"))),
      column("arguments", "Arguments", (it) => (Object.keys(it).length ? h("span", { class: "mono" }, visible(JSON.stringify(it))) : "")),
      column("to", "To", (it) => named(names.get(it)?.name ?? it), { wide: true }),
      column("", "", (it) => (queue || it.kind !== "binding" ? null : button("Remove …", () => unbind(vhost, node.name, it, names.get(it.to), changed), { class: "small danger" }))),
    ], out, { key: (it) => `${it.kind} ${it.to} ${it.key} ${JSON.stringify(it.arguments)}` }) : queue ? null : aside("Nothing is bound to it: what is published to it is gone."));
}

function declare(vhost, done) {
  form({
    title: "Declare an exchange",
    verb: "Declare",
    fields: [
      { name: "name", label: "Name", required: true, given: { maxlength: 255 } },
      { name: "type", label: "Type", type: "select", value: "topic", options: TYPES },
      { name: "durable", label: "Durable: it stays when the server is started anew", type: "checkbox", value: true },
      { name: "alternate", label: "What nothing takes goes to exchange", given: { maxlength: 255 }, help: "Empty: it is gone." },
    ],
    command: (it) => command("logstore", "exchange", "declare", [it.name || "NAME"], "--type", it.type, ...(it.durable ? [] : ["--transient"]),
      ...(it.alternate ? ["--alternate", it.alternate] : []), ...inVhost(vhost)),
    act: async (it) => {
      await ask(path("exchanges", it.name), { method: "PUT", query: { vhost }, body: { type: it.type, durable: it.durable, ...(it.alternate ? { alternate: it.alternate } : {}) } });
      done();
      return `Declared exchange ${visible(it.name)}.`;
    },
  });
}

function bind(vhost, exchange, done) {
  form({
    title: `Bind something to ${visible(exchange)}`,
    verb: "Bind",
    fields: [
      { name: "kind", label: "What", type: "select", value: "queue", options: [["queue", "a queue"], ["exchange", "an exchange"]] },
      { name: "destination", label: "Its name", required: true, given: { maxlength: 255 } },
      { name: "key", label: "Routing key", given: { maxlength: 255 } },
      { name: "arguments", label: "Arguments, in JSON", type: "textarea", rows: 2, value: "" },
    ],
    act: async (it) => {
      await ask("bindings", { method: "POST", query: { vhost }, body: { source: exchange, destination: it.destination, kind: it.kind, key: it.key, arguments: tableOf(it.arguments) } });
      done();
      return `Bound ${it.kind} ${visible(it.destination)} to exchange ${visible(exchange)}.`;
    },
  });
}

function unbind(vhost, exchange, edge, node, done) {
  const body = { source: exchange, destination: node.name, kind: node.kind, key: edge.key ?? "", arguments: edge.arguments };
  danger({
    verb: `Unbind ${node.kind}`,
    object: node.name,
    irreversible: "",
    effect: async (signal) => {
      await ask("bindings", { method: "DELETE", query: { vhost }, body: { ...body, dry_run: true }, signal });
      return h("p", null, "What exchange ", named(exchange), " gets does not go there by this binding any more. No message is deleted.");
    },
    act: async () => {
      await ask("bindings", { method: "DELETE", query: { vhost }, body });
      done();
      return `Unbound ${node.kind} ${visible(node.name)} from exchange ${visible(exchange)}.`;
    },
  });
}

function remove(vhost, exchange, done) {
  danger({
    verb: "Delete exchange",
    object: exchange,
    effect: async (signal) => {
      const told = await ask(path("exchanges", exchange), { method: "DELETE", query: { vhost }, body: { dry_run: true }, signal });
      return h("p", null, `${counted(told.bindings, "binding")} from it and ${counted(told.bindings_to, "binding")} to it would go. No message is deleted.`);
    },
    command: command("logstore", "exchange", "delete", [exchange], ...inVhost(vhost)),
    act: async () => {
      await ask(path("exchanges", exchange), { method: "DELETE", query: { vhost }, body: {} });
      done();
      return `Deleted exchange ${visible(exchange)}.`;
    },
  });
}
