// The form that appends a record to a topic.

import { ask, path } from "../api.js";
import { form } from "../dialogs.js";

/** Append a record; given: what stands in the form at first. */
export function append(topic, given = {}) {
  form({
    title: `Append a record to ${topic}`,
    verb: "Append",
    about: given.about,
    fields: [
      { name: "partition", label: "Partition", type: "number", value: given.partition ?? "", given: { min: 0 }, help: "Empty: chosen by the key." },
      { name: "key", label: "Key", value: given.key ?? "", help: "Empty: none." },
      { name: "value", label: "Value", type: "textarea", value: given.value ?? "" },
      { name: "headers", label: "Headers", type: "textarea", rows: 2, value: given.headers ?? "", help: "A line each: name=value" },
      { name: "none", label: "No value: a tombstone, by which compaction deletes the key", type: "checkbox", value: given.none },
      { name: "encoding", label: "Key, value and headers are", type: "select", value: given.encoding ?? "text", options: [["text", "text"], ["base64", "bytes in base64"]] },
    ],
    act: async (it) => {
      const headers = it.headers.split("\n").filter(Boolean).map((line) => {
        const [header, value] = line.split(/=(.*)/s);
        return [header, value ?? null];
      });
      const told = await ask(path("topics", topic, "records"), { method: "POST", body: {
        ...(it.partition === "" ? {} : { partition: Number(it.partition) }),
        ...(it.key === "" ? {} : { key: it.key }), value: it.none ? null : it.value, headers, encoding: it.encoding } });
      return `Appended a record to topic ${topic}: partition ${told.partition}, offset ${told.offset}.`;
    },
  });
}
