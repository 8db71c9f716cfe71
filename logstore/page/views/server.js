// The server itself: settings and where they come from, users, rules, jobs, the audit log, the doctor.

import { ask, askLines, path } from "../api.js";
import { used } from "../charts.js";
import { danger, form } from "../dialogs.js";
import { aside, badge, button, dim, facts, h, link, mono, named, put } from "../dom.js";
import { column, number, plainTable } from "../list.js";
import { to } from "../router.js";
import { command, counted, grouped, moment, size, span, visible } from "../texts.js";
import { settingColumns, settingsEmpty } from "./settings.js";

const TABS = [["settings", "Settings", settings], ["users", "Users", users], ["rules", "Rules", rules],
  ["jobs", "Jobs", jobs], ["audit", "Audit", audit], ["doctor", "Doctor", doctor]];
const OF_NODES = ["cluster", "Cluster", cluster]; // where the server is a node of one

export async function show(view) {
  const [word = "settings"] = view.names;
  const tabs = (await ask("whoami", { signal: view.signal })).cluster ? [...TABS, OF_NODES] : TABS;
  view.heading(["Server"]);
  view.tabs(tabs.map(([tab, title]) => [tab, title, tab === "settings" ? to("server") : to("server", tab)]), word);
  const row = tabs.find(([tab]) => tab === word);
  if (row) row[2](view);
  else view.add(h("div", { class: "empty" }, h("p", null, "The server has no such part.")));
}

// Settings

function settings(view) {
  view.list({
    caption: "Settings",
    noun: "setting",
    path: "settings",
    key: (it) => it.name,
    sort: "name",
    every: 30_000,
    columns: settingColumns((source) => source === "default"),
    empty: settingsEmpty,
  });
}

// Users

const TAG_HELP = "administrator: may do everything. monitoring: sees all facts here. management: sees what rules allow.";

function users(view) {
  const rows = view.list({
    caption: "Users",
    sorts: false,
    noun: "user",
    path: "users",
    key: (it) => it.name,
    filter: false,
    controls: button("Add a user …", () => addUser(rows), { class: "primary" }),
    columns: [
      column("name", "Name", named),
      column("tags", "Tags", (it) => it.map((tag) => [badge(tag), " "])),
      column("mechanisms", "Logs in by", (it) => it.join(", ") || "a certificate"),
      column("", "", (it) => link(to("server", "rules", { user: it.name }), "rules")),
      { name: "act", title: "", sort: false, show: (it) => [
        button("Password …", () => password(it.name), { class: "small", "aria-label": `Password of ${visible(it.name)}` }), " ",
        button("Tags …", () => tags(it, rows), { class: "small", "aria-label": `Tags of ${visible(it.name)}` }), " ",
        button("Delete …", () => removeUser(it, rows), { class: "small danger", "aria-label": `Delete ${visible(it.name)}` })] },
    ],
    empty: ["There are no users: whoever reaches a door may do everything. With the first user everyone has to log in, at every door. Begin with an administrator:",
      command("logstore", "user", "add", ["root"], "--tag", "administrator")],
  });
}

const tagsOf = (text) => text.split(/[\s,]+/).filter(Boolean);

function addUser(rows) {
  const first = rows.answer()?.total === 0;
  form({
    title: "Add a user",
    about: first ? "With the first user every client has to log in from then on, at every door, and so do you." : null,
    verb: "Add",
    danger: first,
    fields: [
      { name: "name", label: "Name", required: true },
      { name: "password", label: "Password", type: "password", given: { autocomplete: "new-password" }, help: "Empty: logs in by a certificate only." },
      { name: "tags", label: "Tags", value: first ? "administrator" : "", help: TAG_HELP },
    ],
    command: (it) => command("logstore", "user", "add", [it.name || "NAME"], ...tagsOf(it.tags).flatMap((tag) => ["--tag", tag])),
    act: async (it) => {
      await ask("users", { method: "POST", body: { name: it.name, tags: tagsOf(it.tags), ...(it.password ? { password: it.password } : {}) } });
      rows.refresh();
      return `Added user ${visible(it.name)}.`;
    },
  });
}

function password(user) {
  form({
    title: `Replace the password of ${visible(user)}`,
    verb: "Replace",
    fields: [{ name: "password", label: "New password", type: "password", required: true, given: { autocomplete: "new-password" } }],
    command: () => command("logstore", "user", "passwd", [user]),
    act: async (it) => {
      await ask(path("users", user, "password"), { method: "PUT", body: { password: it.password } });
      return `Replaced the password of user ${visible(user)}.`;
    },
  });
}

function tags(it, rows) {
  form({
    title: `Tags of ${visible(it.name)}`,
    verb: "Replace the tags",
    fields: [{ name: "tags", label: "Tags", value: it.tags.join(" "), help: TAG_HELP }],
    command: (given) => command("logstore", "user", "tags", [it.name, ...tagsOf(given.tags)]),
    act: async (given) => {
      await ask(path("users", it.name, "tags"), { method: "PUT", body: { tags: tagsOf(given.tags) } });
      rows.refresh();
      return `User ${visible(it.name)} has ${tagsOf(given.tags).join(", ") || "no tags"} now.`;
    },
  });
}

function removeUser({ name: user }, rows) {
  danger({
    verb: "Delete user",
    object: user,
    effect: async (signal) => {
      const { total } = await ask("rules", { query: { user, page_size: 1 }, signal });
      return h("p", null, `Its connections end at once, and ${counted(total, "rule")} that name it go with it.`);
    },
    command: command("logstore", "user", "delete", [user]),
    act: async () => {
      await ask(path("users", user), { method: "DELETE" });
      rows.refresh();
      return `Deleted user ${visible(user)}.`;
    },
  });
}

// Rules

const KINDS = ["topic", "group", "channel", "exchange", "queue", "transactional-id", "key", "cluster", "user", "delegation-token"];
const OPERATIONS = ["read", "write", "create", "delete", "alter", "describe", "describe-configs", "alter-configs", "cluster-action", "idempotent-write", "all"];

function rules(view) {
  check(view);
  const user = h("input", { type: "search", value: view.query.get("user") ?? "", placeholder: "Of user", "aria-label": "Rules of this user", "data-filter": "1",
    onchange: () => {
      view.remember({ user: user.value });
      rows.refresh();
    } });
  const rows = view.list({
    caption: "Rules",
    sorts: false,
    noun: "rule",
    path: "rules",
    query: () => ({ user: user.value, filter: "", sort: "" }),
    key: (it) => [it.user, it.operation, it.kind, it.name, it.pattern, it.host, it.allow].join("\n"),
    filter: false,
    controls: [user, button("Add a rule …", () => addRule(rows, user.value), { class: "primary" })],
    tone: (it) => (it.allow ? null : "bad"),
    columns: [
      column("user", "User", named),
      column("allow", "", (it) => it ? badge("may", "fine") : badge("must not", "bad")),
      column("operation", "Do", String),
      column("", "On", (it) => [it.kind, " ", named(it.name), it.pattern === "literal" ? null : dim(` (${it.pattern})`)]),
      column("host", "From", (it) => (it === "*" ? dim("anywhere") : mono(it))),
      column("", "", (it) => button("Remove …", () => removeRule(it, rows), { class: "small danger" })),
    ],
    empty: ["There are no rules. What no rule allows is refused, but to administrators and while there are no users.",
      command("logstore", "acl", "allow", ["ana", "read,write", "topic:orders"])],
  });
}

/** What would this user get to hear? */
function check(view) {
  const answer = h("p", { role: "status" });
  const input = (key, given) => h("input", { id: `check-${key}`, name: key, autocomplete: "off", spellcheck: "false", required: true, ...given });
  const select = (key, words) => h("select", { id: `check-${key}`, name: key }, words.map((it) => h("option", { value: it }, it)));
  const field = (key, label, element) => h("div", { class: "field" }, h("label", { for: `check-${key}` }, label), element);
  const ask_ = h("form", {
    class: "asking-form",
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        const told = await ask("rules/check", { query: Object.fromEntries(new FormData(ask_)), signal: view.signal });
        put(answer, told.allowed ? badge("allowed", "fine") : badge("refused", "bad"), " ", visible(told.why));
      } catch (error) {
        if (error.name !== "AbortError") put(answer, h("span", { class: "error" }, visible(error.message)));
      }
    },
  },
  field("user", "May user", input("user")), field("operation", "do", select("operation", OPERATIONS.slice(0, -1))),
  field("kind", "on", select("kind", KINDS)), field("name", "named", input("name")),
  h("div", { class: "actions" }, h("button", { type: "submit" }, "Ask why")), answer);
  view.add(h("section", { class: "list" }, ask_));
}

function addRule(rows, user) {
  form({
    title: "Add a rule",
    verb: "Add",
    fields: [
      { name: "user", label: "User", value: user, required: true, help: "* is everyone." },
      { name: "allow", label: "This user", type: "select", value: "1", options: [["1", "may"], ["", "must not (wins over every rule that allows)"]] },
      { name: "operations", label: "Do", value: "read", required: true, help: `With commas between: ${OPERATIONS.join(", ")}.` },
      { name: "kind", label: "On a", type: "select", value: "topic", options: KINDS },
      { name: "name", label: "Named", required: true, help: "* is every name." },
      { name: "pattern", label: "The name is", type: "select", value: "literal", options: [["literal", "the whole name"], ["prefix", "the beginning of names"], ["glob", "a pattern with * and ?"]] },
      { name: "host", label: "From the address", value: "*", required: true, help: "* is any." },
    ],
    command: (it) => command("logstore", "acl", it.allow ? "allow" : "deny", [it.user || "USER", it.operations.split(/[\s,]+/).filter(Boolean).join(",") || "read", `${it.kind}:${it.name || "NAME"}`],
      ...(it.pattern === "literal" ? [] : [`--${it.pattern}`]), ...(it.host === "*" ? [] : ["--from-host", it.host])),
    act: async (it) => {
      const made = await ask("rules", { method: "POST", body: { ...it, allow: Boolean(it.allow), operations: it.operations.split(/[\s,]+/).filter(Boolean) } });
      rows.refresh();
      return `Added ${counted(made.length, "rule")} about ${visible(it.user)}.`;
    },
  });
}

function removeRule(it, rows) {
  danger({
    verb: "Remove rule",
    object: `${it.user} ${it.operation} ${it.kind}:${it.name}`,
    irreversible: null,
    effect: async () => h("p", null, it.allow ? "What it allows is refused at once, on open connections too, unless another rule allows it." : "What it forbids is allowed again where another rule allows it."),
    command: command("logstore", "acl", "remove", [it.user, it.operation, `${it.kind}:${it.name}`],
      ...(it.pattern === "literal" ? [] : [`--${it.pattern}`]), ...(it.host === "*" ? [] : ["--from-host", it.host])),
    act: async () => {
      const { operation, ...rest } = it;
      await ask("rules", { method: "DELETE", body: { ...rest, operations: [operation] } });
      rows.refresh();
      return `Removed the rule that ${visible(it.user)} ${it.allow ? "may" : "must not"} ${operation} ${it.kind} ${visible(it.name)}.`;
    },
  });
}

// Jobs

const JOBS = [["compact", "compact: keep the latest record of each key"], ["retention", "retention: drop what is past its time or size"], ["recompress", "recompress: write old segments with the topic's codec"]];

function jobs(view) {
  const part = view.part({
    title: "Upkeep",
    act: button("Start a job …", () => start(view, part)),
    path: "jobs",
    show: (it) => [
      it.running.length ? plainTable("Jobs that run", [
        column("", "Job", jobName),
        column("object", "Of", named, { wide: true }),
        number("", "Done", (it) => used(it.share, it.name)),
        number("logs", "Logs seen"),
        number("since_ms", "Since", (it) => span(Date.now() - it)),
      ], it.running, { key: (one) => `${one.name} ${one.since_ms}` }) : aside("No job runs now."),
      h("h3", null, "Earlier"),
      it.history.length ? plainTable("Jobs that ended", [
        column("", "Job", jobName),
        column("object", "Of", named, { wide: true }),
        column("ended_ms", "Ended (UTC)", (it) => mono(moment(it))),
        number("took_ms", "Took", span),
        column("", "What came of it", (it) => visible(it.error ?? it.outcome), { wide: true }),
      ], it.history, { tone: (one) => (one.error ? "bad" : null) }) : aside("None since the server began."),
    ],
  });
}

const jobName = (it) => [it.name, it.dry_run ? dim(" dry run") : it.by_itself ? null : dim(" asked for")];

function start(view, part) {
  form({
    title: "Start a job of upkeep",
    about: "The server does these by itself, in time. Here one is done now.",
    verb: "Start",
    fields: [
      { name: "name", label: "Job", type: "select", value: "compact", options: JOBS },
      { name: "topics", label: "Topics", help: "With commas between. Empty: all." },
      { name: "dry_run", label: "Only say what it would do", type: "checkbox", value: true },
    ],
    act: async (it) => {
      const body = { name: it.name, dry_run: it.dry_run, topics: it.topics.split(",").map((one) => one.trim()).filter(Boolean) };
      let broke = null;
      await askLines("jobs", { body, signal: view.signal }, (line) => {
        if (line.type === "Broke") broke = line.text;
      });
      part.refresh();
      if (broke) throw new Error(broke);
      const { history } = await ask("jobs");
      const mine = history.filter((one) => one.name === it.name).sort((one, two) => two.ended_ms - one.ended_ms)[0];
      return `The job ${it.name}${it.dry_run ? " (dry run)" : ""} ended: ${mine?.error ?? mine?.outcome ?? "done"}.`;
    },
  });
}

// The audit log and the doctor

function audit(view) {
  const note = h("span", { class: "dim" });
  view.list({
    caption: "Audit log",
    noun: "entry",
    plural: "entries",
    path: "audit",
    sorts: false,
    regex: false,
    controls: note,
    key: (it) => it.offset,
    changed: (it) => (note.textContent = it.complete ? "" : "found so far: there may be more further back"),
    columns: [
      column("time_ms", "Time (UTC)", (it) => mono(moment(it))),
      column("event", "What"),
      column("outcome", "Came of it", (it) => badge(it, it === "refused" ? "bad" : "")),
      column("user", "User", (it) => named(it || "–")),
      column("", "From", (it) => [it.door, " ", mono(it.host)]),
      column("what", "Of what", visible, { wide: true }),
      number("count", "Times"),
    ],
    empty: ["Nothing was logged. The audit log is kept once there are users."],
  });
}

function doctor(view) {
  view.part({
    title: "What the doctor sees",
    path: "doctor",
    every: 60_000,
    show: (it) => plainTable("Checks", [
      column("state", "", (state) => badge(state, TONES[state])),
      column("name", "What"),
      column("found", "Found", visible, { wide: true }),
      column("advice", "What to do", visible, { wide: true }),
    ], it.checks, { tone: (one) => (one.state === "ok" ? null : TONES[one.state]) }),
  });
}

// The cluster

const HELD_TONES = { here: "fine", elsewhere: "fine", taking: "warn", unreached: "bad", nobody: "bad" };

function cluster(view) {
  view.part({
    title: "The cluster of this node",
    path: "cluster",
    show: (it) => [
      facts([
        ["Cluster", `${visible(it.cluster)} (${visible(it.cluster_id)})`],
        ["Reached", it.failure === null ? "yes" : visible(it.failure)],
        ["Brokers", it.brokers.map((one) => [mono(one.address), one.controller ? dim(" controller") : null, " "])],
        ["This node", mono(it.node)],
        ["Queues", it.no_queues === null ? "served" : visible(it.no_queues)],
        ["Not acknowledged", `${size(it.bytes)} in ${counted(it.appends, "append")}`],
        ["Stalls", `${it.stalled} now; ${it.stalls} before, ${it.stalled_s.toFixed(1)} s in all`],
        ["Unread facts", grouped(it.facts_unread)],
      ]),
      owned("Partitions of the queues' journal", "Partition", it.partitions),
      owned("Databases of keys", "Database", it.databases),
    ],
  });
}

function owned(title, noun, rows) {
  return plainTable(title, [
    number("partition", noun, String),
    column("state", "Owned", (state) => badge(state, HELD_TONES[state])),
    column("node", "Node", (node) => (node === null ? dim("–") : mono(node))),
    column("address", "Links at", (address) => (address === null ? dim("–") : mono(address))),
    column("since_ms", "Since", (ms) => (ms === null ? dim("–") : moment(ms))),
    number("epoch", "Epoch", (epoch) => (epoch === null ? "–" : String(epoch)), { help: "Each take-over is one more" }),
    column("why", "Why", (why) => (why === null ? "" : visible(why)), { wide: true }),
  ], rows, { key: (one) => String(one.partition) });
}

const TONES = { ok: "fine", warning: "warn", error: "bad" };
