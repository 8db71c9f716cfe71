// What queues and routing share: the virtual host that is looked at, and tables in JSON.

import { ask } from "../api.js";
import { h, put } from "../dom.js";
import { visible } from "../texts.js";

const SHOWN_MAX = 500;

export const chosen = (view) => view.query.get("v") || "/";

/** Words of a command for what is not in the default virtual host. */
export const inVhost = (vhost) => (vhost === "/" ? [] : ["--vhost", vhost]);

/** Words of a command for arguments of AMQP; a text that would be read as JSON is given as JSON. */
export const inArguments = (table) => Object.entries(table).flatMap(([name, value]) =>
  ["--argument", `${name}=${typeof value === "string" && !isJson(value) ? value : JSON.stringify(value)}`]);

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** A list to choose from, where there is more than one. changed(): another one is looked at. */
export function vhosts(view, changed, { all = true } = {}) {
  const choice = h("select", { "aria-label": "Virtual host", hidden: true, onchange: () => {
    view.remember({ v: choice.value, p: "", focus: "" });
    changed();
  } });
  ask("vhosts", { query: { page_size: SHOWN_MAX, sort: "name" }, signal: view.signal }).then(({ items, total }) => {
    const names = items.map((it) => it.name);
    put(choice, all ? h("option", { value: "" }, "all virtual hosts") : null,
      names.map((it) => h("option", { value: it }, visible(it))),
      total > names.length ? h("option", { disabled: true }, `and ${total - names.length} more`) : null);
    choice.value = view.query.get("v") || (all ? "" : "/");
    choice.hidden = names.length < 2;
  }, (error) => {
    if (error.name !== "AbortError") choice.hidden = true; // the rows themselves say what is wrong
  });
  return choice;
}

/** A table as somebody has written it. Raises Error where it is none. */
export function tableOf(text) {
  if (text.trim() === "") return {};
  let value = null;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`this is no JSON: ${error.message}`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("this is no JSON object, such as {\"name\": 1}");
  return value;
}

export const textOfTable = (table) => (Object.keys(table).length ? JSON.stringify(table) : "");

