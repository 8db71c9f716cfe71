// News of the server, once a second, by one stream of events a tab; none while nobody looks.

import { address } from "./api.js";

const AGAIN_MS = 3000;

let wanted = null; // the query of /events: what the view asks for
let source = null;
let again = 0;
let began = false;
const listeners = new Set();

/** Ask for these figures from now on: {view: "overview"}, {topics: "a,b"}. */
export function want(query) {
  if (JSON.stringify(query) === JSON.stringify(wanted)) return;
  wanted = query;
  restart();
}

/** take(figures) at each event, until signal. */
export function listen(take, signal) {
  listeners.add(take);
  signal.addEventListener("abort", () => listeners.delete(take));
}

/** Begin, or begin anew after a login. */
export function restart() {
  stop();
  began = true;
  if (document.hidden) return;
  source = new EventSource(address("events", wanted));
  source.addEventListener("figures", (event) => {
    const figures = JSON.parse(event.data);
    for (const take of [...listeners]) take(figures);
  });
  source.onerror = () => {
    if (source?.readyState === EventSource.CLOSED) {
      source = null;
      again = setTimeout(restart, AGAIN_MS); // the browser itself tries no more
    }
  };
}

export function stop() {
  began = false;
  clearTimeout(again);
  source?.close();
  source = null;
}

document.addEventListener("visibilitychange", () => (document.hidden ? source?.close() : began && restart()));

/**
 * A stream of its own, of a topic's or a channel's tail: take(event name, data) until signal.
 * failed(sentence) is told when it breaks; it is tried again.
 */
export function tail(where, query, take, failed, signal) {
  let stream = null;
  let timer = 0;
  const begin = () => {
    if (signal.aborted) return;
    stream = new EventSource(address(where, query));
    for (const kind of ["records", "messages", "gap", "refused"]) {
      stream.addEventListener(kind, (event) => take(kind, event.data ? JSON.parse(event.data) : null));
    }
    stream.onopen = () => failed("");
    stream.onerror = () => {
      failed("The connection broke; trying again.");
      if (stream.readyState === EventSource.CLOSED) timer = setTimeout(begin, AGAIN_MS);
    };
  };
  begin();
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    stream?.close();
  });
}
