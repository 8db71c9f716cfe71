// Every view has an address: #/queues/%2F/orders?f=..&p=2. Pure, but for the two that go somewhere.

import { decodeName, encodeName } from "./texts.js";

/** What an address names: {view, names, query}. */
export function placeOf(hash) {
  const [path, query] = hash.replace(/^#?\/?/, "").split(/\?(.*)/s);
  const [view, ...names] = path.split("/").filter((it) => it !== "").map(decodeName);
  return { view: view ?? "overview", names, query: new URLSearchParams(query ?? "") };
}

/** to("topics", name, "records"), with a query as the last one: {f: "x"}. */
export function to(...words) {
  const query = typeof words.at(-1) === "object" ? words.pop() : {};
  const pairs = new URLSearchParams(
    Object.entries(query).filter(([, it]) => it !== "" && it !== null && it !== undefined),
  ).toString();
  return `#/${words.map(encodeName).join("/")}${pairs ? `?${pairs}` : ""}`;
}

export function go(hash) {
  location.hash = hash;
}

/** Change parts of the query where we are; the view goes on, and the way back is not longer. */
export function remember(changes) {
  const [path] = location.hash.split("?");
  const { query } = placeOf(location.hash);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null || value === undefined) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", `${path || "#/overview"}${text ? `?${text}` : ""}`);
}
