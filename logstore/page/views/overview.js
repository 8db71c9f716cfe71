// At one look: are we healthy, what flows, what is stuck, what is nearly full.

import { chart, used } from "../charts.js";
import { aside, badge, commandLine, h, link, mono, named } from "../dom.js";
import { column, number, plainTable } from "../list.js";
import { listen } from "../live.js";
import { to } from "../router.js";
import { command, counted, doorName, grouped, perSecond, rate, size, sizePerSecond, span, visible } from "../texts.js";

const FULL_ROWS = 8;
const COUNTS = [["topic", "topics"], ["group", "groups"], ["queue", "queues"], ["exchange", "routing"],
  ["channel", "channels"], ["connection", "connections"]];

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
      h("p", { class: "counts" }, COUNTS.filter(([noun]) => counts[`${noun}s`] !== undefined).map(([noun, view]) => {
        const [number, word] = counted(counts[`${noun}s`], noun).split(" ");
        return [link(to(view), h("b", null, number), ` ${word}`), " "];
      })),
      aside([version && `logstore ${version}`, uptime !== undefined && `up ${span(uptime * 1000)}`].filter(Boolean).join(" · "))),
    warnings.length ? h("ul", { class: `warnings ${health.state}` }, warnings.map((it) => h("li", null, it.view
      ? link(it.view, visible(it.what)) : visible(it.what), it.object ? [" ", named(it.object)] : null))) : null,
    nothingYet(counts) ? [h("p", null, "There is nothing here yet. Make a topic, or declare a queue:"),
      commandLine(command("logstore", "topic", "create", ["orders"], "--partitions", 3)), " ", commandLine(command("logstore", "queue", "declare", ["mail"]))] : null,
  ];
}

const nothingYet = (counts) => counts.topics === 0 && counts.queues === 0;

function flows({ flows = {}, history }) {
  const doors = Object.entries(flows.doors ?? {});
  const by = (what) => doors.filter(([, it]) => it[what]).map(([door, it]) => `${doorName(door)} ${rate(it[what])}`).join(" · ");
  return [
    h("div", { class: "flows" },
      flow("In", flows.in_per_s, by("in_per_s"), "in"),
      flow("Out", flows.out_per_s, by("out_per_s"), "out"),
      h("div", { class: "flow" }, h("p", { class: "what" }, "Waiting to be read"),
        h("p", { class: "big" }, grouped(flows.waiting)), aside("records and messages"))),
    history && history.in.length > 1 ? chart("The last hour", [
      { name: "in", values: history.in, tone: "in" }, { name: "out", values: history.out, tone: "out" },
    ], history.step_s) : null,
  ];
}

function flow(title, number, doors, tone) {
  return h("div", { class: `flow ${tone}` }, h("p", { class: "what" }, title),
    h("p", { class: "big" }, perSecond(number)), aside(doors || "\u00a0"));
}

function stuck({ stuck = [], stuck_total: total = 0, slow_clients: slow = 0 }) {
  const cut = slow > 0 ? aside(`${counted(slow, "slow client")} cut off in the last hour.`) : null;
  if (!stuck.length) return [aside("Nothing is stuck."), cut];
  return [plainTable("What is stuck", [
    column("", "What", (it) => [`${it.kind} `, it.view ? link(it.view, named(it.object)) : named(it.object)]),
    column("detail", "How", visible, { wide: true }),
    number("since_ms", "For", (it) => (it ? span(Date.now() - it) : "–")),
  ], stuck, { key: (it) => `${it.kind} ${it.vhost} ${it.object}`, tone: () => "warn" }),
  total > stuck.length ? aside(`and ${grouped(total - stuck.length)} more`) : null, cut];
}

function full({ full = [] }) {
  const first = full.filter((it, at) => at < 3 || it.share > 0.05).slice(0, FULL_ROWS);
  if (!full.length) return aside("Nothing has a limit that it is near to.");
  return plainTable("What is nearly full", [
    column("", "What", (it) => (it.view ? link(it.view, visible(it.what)) : visible(it.what)), { wide: true }),
    number("", "Used", (it) => `${amount(it, it.used)} of ${amount(it, it.limit)}`),
    number("", "", (it) => used(it.share, it.what)),
    number("full_in_s", "Full in", (it) => (it === null || it === undefined ? "–" : `~ ${span(it * 1000)}`)),
  ], first, { key: (it) => it.what, tone: (it) => (it.nearly ? (it.share >= 0.9 ? "bad" : "warn") : null) });
}

const amount = (it, number) => (it.unit === "bytes" ? size(number) : grouped(number));

function doors({ doors = [], flows = {} }) {
  const of = (it) => flows.doors?.[it.name] ?? {};
  return plainTable("Doors", [
    column("name", "Door", (it) => link(to("connections", { door: it }), doorName(it))),
    column("", "Address", (it) => [mono(it.address), it.tls ? [" ", badge("TLS")] : null]),
    number("connections", "Connections"),
    number("", "In", (it) => sizePerSecond(of(it).bytes_in_per_s)),
    number("", "Out", (it) => sizePerSecond(of(it).bytes_out_per_s)),
  ], doors, { key: (it) => `${it.name} ${it.address}` });
}

function jobs({ jobs = [] }) {
  if (!jobs.length) return aside("No job of upkeep runs. ", link(to("server", "jobs"), "Earlier jobs"));
  return plainTable("Jobs that run", [
    column("name", "Job"),
    column("object", "Of", (it) => named(it ?? "")),
    number("", "Done", (it) => used(it.share, it.name)),
  ], jobs, { key: (it) => `${it.name} ${it.object}` });
}
