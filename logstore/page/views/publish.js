// The form that publishes a message.

import { ask, path } from "../api.js";
import { form } from "../dialogs.js";
import { visible } from "../texts.js";
import { tableOf, textOfTable } from "./vhosts.js";

/** Publish to an exchange; the default one brings a message to the queue that its key names. */
export function publish(vhost, exchange, key, given = {}) {
  const direct = exchange === "";
  form({
    title: direct ? `Publish a message to queue ${visible(key)}` : `Publish a message to exchange ${visible(exchange)}`,
    verb: "Publish",
    fields: [
      ...(direct ? [] : [{ name: "key", label: "Routing key", value: key, given: { maxlength: 255 } }]),
      { name: "body", label: "Body", type: "textarea", value: given.body ?? "" },
      { name: "encoding", label: "The body is", type: "select", value: given.encoding ?? "text", options: [["text", "text"], ["base64", "bytes in base64"]] },
      { name: "properties", label: "Properties, in JSON", type: "textarea", rows: 2, value: textOfTable(given.properties ?? { delivery_mode: 2 }), help: "content_type, headers, priority, expiration, message_id, …" },
    ],
    act: async (it) => {
      const told = await ask(path("exchanges", exchange, "publish"), { method: "POST", query: { vhost },
        body: { key: direct ? key : it.key, properties: tableOf(it.properties), body: it.body, encoding: it.encoding } });
      if (told.refused) throw new Error("the queue is full, and refuses it");
      return told.routed ? "Published a message." : "Published a message; no binding takes it anywhere, so that it is gone.";
    },
  });
}
