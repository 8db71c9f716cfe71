// At one look: are we healthy, what flows, what is stuck, what is nearly full.

import { bar, chart } from "../charts.js";
import { commandLine, h, link, name } from "../dom.js";
import { plainTable } from "../list.js";
import { listen } from "../live.js";
import { to } from "../router.js";
import { grouped, perSecond, rate, share, size, sizePerSecond, span, visible } from "../texts.js";

const COUNTS = [["topics", "topics"], ["groups", "groups"], ["queues", "queues"], ["exchanges", "routing"],
  ["channels", "channels"], ["connections", "connections"]];

export function show(view) {
  view.heading(["Overview"]);
  const parts = h("div", { class: "parts" });
  view.add(parts);
  const put = (spec) => {
    const part = view.part({ ...spec, apart: true });
    parts.append(part.element);
    return part;
  };
  const shown = [
    put({ title: "Health", show: health, wide: true, class: "health" }),
    put({ title: "Flows", show: flows, wide: true }),
    put({ title: "Stuck", show: stuck }),
    put({ title: "Nearly full", show: full }),
    put({ title: "Doors", show: doors }),
    put({ title: "Jobs", show: jobs }),
  ];
  let data = {};
  const use = (news) => {
    data = { ...data, ...news };
    for (const it of shown) it.use(data);
  };
  const asked = view.part({ path: "overview", apart: true, every: 10_000, show: (told) => (use(told), []) });
  asked.fail = (error) => shown.forEach((it) => it.fail(error));
  view.wants({ view: "overview" });
  listen((figures) => figures.flows && asked.data && use(figures), view.signal);
}

function health({ health, uptime_s: uptime, version, counts = {} }) {
  const warnings = health?.warnings ?? [];
  return [
    h("div", { class: "health-line" },
      h("p", { class: "counts" }, COUNTS.filter(([it]) => counts[it] !== undefined).map(([noun, view]) =>
        [link(to(view), h("b", null, grouped(counts[noun])), ` ${noun}`), " "])),
      h("p", { class: "dim" }, [version && `logstore ${version}`, uptime !== undefined && `up ${span(uptime * 1000)}`].filter(Boolean).join(" · "))),
    warnings.length ? h("ul", { class: "warnings" }, warnings.map((it) => h("li", null, it.view
      ? link(it.view, visible(it.what)) : visible(it.what), it.object ? [" ", name(it.object)] : null))) : null,
    nothingYet(counts) ? [h("p", null, "There is nothing here yet. Make a topic, or declare a queue:"),
      commandLine("logstore topic create orders --partitions 3"), " ", commandLine("logstore queue declare mail")] : null,
  ];
}

const nothingYet = (counts) => counts.topics === 0 && counts.queues === 0;

function flows({ flows = {}, history }) {
  const doors = Object.entries(flows.doors ?? {});
  const by = (what) => doors.filter(([, it]) => it[what]).map(([door, it]) => `${door} ${rate(it[what])}`).join(" · ");
  return [
    h("div", { class: "flows" },
      flow("In", flows.in_per_s, by("in_per_s"), "in"),
      flow("Out", flows.out_per_s, by("out_per_s"), "out"),
      h("div", { class: "flow" }, h("p", { class: "what" }, "Waiting to be read"),
        h("p", { class: "big" }, grouped(flows.waiting)), h("p", { class: "dim" }, "records and messages"))),
    history && history.in.length > 1 ? chart("The last hour", [
      { name: "in", values: history.in, tone: "in" }, { name: "out", values: history.out, tone: "out" },
    ], history.step_s) : null,
  ];
}

function flow(title, number, doors, tone) {
  return h("div", { class: `flow ${tone}` }, h("p", { class: "what" }, title),
    h("p", { class: "big" }, perSecond(number)), h("p", { class: "dim" }, doors || "\u00a0"));
}

function stuck({ stuck = [] }) {
  if (!stuck.length) return h("p", { class: "dim" }, "Nothing is stuck.");
  return plainTable("What is stuck", [
    { title: "What", show: (it) => [`${it.kind} `, it.view ? link(it.view, name(it.object)) : name(it.object)] },
    { title: "How", show: (it) => visible(it.detail), wide: true },
    { title: "For", show: (it) => (it.since_ms ? span(Date.now() - it.since_ms) : "–"), number: true },
  ], stuck, { key: (it) => `${it.kind} ${it.object}`, tone: () => "warn" });
}

function full({ full = [] }) {
  if (!full.length) return h("p", { class: "dim" }, "Nothing has a limit that it is near to.");
  return plainTable("What is nearly full", [
    { title: "What", show: (it) => visible(it.what), wide: true },
    { title: "Used", show: (it) => `${amount(it, it.used)} of ${amount(it, it.limit)}`, number: true },
    { title: "", show: (it) => bar(it.share, it.what) },
    { title: "Share", show: (it) => share(it.share), number: true },
    { title: "Full in", show: (it) => (it.full_in_s === null || it.full_in_s === undefined ? "–" : `~ ${span(it.full_in_s * 1000)}`), number: true },
  ], full, { key: (it) => it.what, tone: (it) => (it.share >= 0.9 ? "bad" : it.share >= 0.8 ? "warn" : null) });
}

const amount = (it, number) => (it.unit === "bytes" || it.unit === "B" ? size(number) : grouped(number));

function doors({ doors = [], flows = {} }) {
  const of = (it) => flows.doors?.[it.name] ?? {};
  return plainTable("Doors", [
    { title: "Door", show: (it) => link(to("connections", { door: it.name }), it.name) },
    { title: "Address", show: (it) => [h("span", { class: "mono" }, visible(it.address)), it.tls ? [" ", h("span", { class: "badge" }, "TLS")] : null] },
    { title: "Connections", show: (it) => grouped(it.connections), number: true },
    { title: "In", show: (it) => sizePerSecond(of(it).bytes_in_per_s), number: true },
    { title: "Out", show: (it) => sizePerSecond(of(it).bytes_out_per_s), number: true },
  ], doors, { key: (it) => `${it.name} ${it.address}` });
}

function jobs({ jobs = [] }) {
  if (!jobs.length) return h("p", { class: "dim" }, "No job of upkeep runs. ", link(to("server", "jobs"), "Earlier jobs"));
  return plainTable("Jobs that run", [
    { title: "Job", show: (it) => it.name },
    { title: "Of", show: (it) => name(it.object ?? "") },
    { title: "", show: (it) => bar(it.share, it.name) },
    { title: "Done", show: (it) => share(it.share), number: true },
  ], jobs, { key: (it) => `${it.name} ${it.object}` });
}
