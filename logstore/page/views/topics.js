// Topics: the list of them, and the way to one of them.

import { ask } from "../api.js";
import { form } from "../dialogs.js";
import { button, h, link, named } from "../dom.js";
import { column, number } from "../list.js";
import { go, to } from "../router.js";
import { command, counted, kept, rate, size, visible } from "../texts.js";

export async function show(view) {
  if (view.names.length > 0) {
    const topic = await import("./topic.js");
    await topic.show(view);
    return;
  }
  view.heading(["Topics"], button("Create a topic", create, { class: "primary" }));
  view.list({
    caption: "Topics",
    noun: "topic",
    path: "topics",
    key: (it) => it.name,
    sort: "name",
    pins: { kind: "topics", label: (key) => key, href: (key) => to("topics", key) },
    columns: [
      column("name", "Name", (it) => link(to("topics", it), named(it))),
      number("partitions", "Partitions"),
      number("records", "Records"),
      number("bytes", "Size", size),
      number("in_per_s", "In /s", rate, { sort: false }),
      number("groups", "Groups"),
      column("retention_ms", "Kept", (_, it) => kept(it)),
      column("error", "", (it) => it && h("span", { class: "error" }, visible(it)), { sort: false }),
    ],
    empty: ["There is no topic yet. Create one here, or on the command line:", command("logstore", "topic", "create", ["orders"], "--partitions", 3)],
  });
}

function create() {
  form({
    title: "Create a topic",
    verb: "Create",
    fields: [
      { name: "name", label: "Name", required: true, given: { maxlength: 249, pattern: "[a-zA-Z0-9._\\-]+" },
        help: "Letters, digits, dot, underscore and hyphen." },
      { name: "partitions", label: "Partitions", type: "number", value: 1, required: true, given: { min: 1, max: 10000 },
        help: "Records with the same key stay in one partition, in order. Partitions can be added later, never removed." },
      { name: "policy", label: "Records stay", type: "select", value: "delete",
        options: [["delete", "until a time or a size is reached"], ["compact", "as long as they are the latest of their key"]] },
      { name: "days", label: "Days until they are deleted", type: "number", given: { min: 0, step: "any" },
        help: "Empty: as the server's settings say." },
    ],
    command: (it) => command("logstore", "topic", "create", [it.name || "NAME"], "--partitions", it.partitions || 1,
      ...Object.entries(settingsOf(it)).flatMap(([key, value]) => ["--config", `${key}=${value}`])),
    act: async (it) => {
      await ask("topics", { method: "POST", body: { name: it.name, partitions: Number(it.partitions), settings: settingsOf(it) } });
      go(to("topics", it.name));
      return `Created topic ${it.name} with ${counted(it.partitions, "partition")}.`;
    },
  });
}

function settingsOf({ policy, days }) {
  const settings = {};
  if (policy !== "delete") settings["cleanup.policy"] = policy;
  if (days !== "") settings["retention.ms"] = String(Math.round(Number(days) * 86_400_000));
  return settings;
}
