// News of the server, once a second, by a stream of events; and tails, by one each.
//
// A browser has six connections to a server for all of its tabs, and a stream takes one for good. So a
// tab has one at a time, none while nobody looks, and no more than STREAMS_MAX of them have one: they
// ask each other. A tab without one asks the server from time to time.

import { address, ask } from "./api.js";

const STREAMS_MAX = 4;
const ANSWERS_MS = 150; // in which other tabs say that they have a stream
const AGAIN_MS = 3000;
const SELDOM_MS = 10_000;

let wanted = null; // the query of /events: what the view asks for
let source = null;
let turn = 0; // raised by each start and stop: what was begun before is over
let began = false;
let tails = 0;
let timer = 0;
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
export async function restart() {
  pause();
  began = true;
  const mine = turn;
  if (document.hidden) return;
  const room = !tails && (await isRoom());
  if (mine !== turn) return;
  if (room) open();
  else seldom(mine);
}

/** No more of it, until restart. */
export function stop() {
  pause();
  began = false;
}

function pause() {
  turn += 1;
  clearTimeout(timer);
  source?.close();
  source = null;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) pause();
  else if (began) restart();
});

function tell(figures) {
  for (const take of [...listeners]) take(figures);
}

function open() {
  source = new EventSource(address("events", wanted));
  source.addEventListener("figures", (event) => tell(JSON.parse(event.data)));
  source.onerror = () => {
    if (source?.readyState === EventSource.CLOSED) {
      pause();
      timer = setTimeout(restart, AGAIN_MS); // the browser itself tries no more
    }
  };
}

/** What the stream would have told, asked for; then look for room again. */
async function seldom(mine) {
  const figures = await ask("overview").catch(() => null);
  if (mine !== turn) return;
  if (figures) tell(figures);
  timer = setTimeout(restart, SELDOM_MS);
}

// Tabs of one browser

const me = Math.random();
const others = new BroadcastChannel("logstore");
let asks = 0; // how many of our questions wait for answers
let heard = 0;

others.onmessage = ({ data }) => {
  if (data.answer === me) heard += 1;
  // Of those that ask at the same time the lower number is first.
  else if (data.asks !== undefined && (source || tails || (asks && me < data.asks))) others.postMessage({ answer: data.asks });
};

async function isRoom() {
  heard = 0;
  asks += 1;
  others.postMessage({ asks: me });
  await new Promise((go) => setTimeout(go, ANSWERS_MS));
  asks -= 1;
  return heard < STREAMS_MAX;
}

/**
 * A stream of its own, of a topic's or a channel's tail: take(event name, data) until signal.
 * failed(sentence) is told when it breaks; it is tried again.
 */
export async function tail(where, query, take, failed, signal) {
  let stream = null;
  let wait = 0;
  tails += 1; // in the place of the other stream
  if (began) restart();
  signal.addEventListener("abort", () => {
    clearTimeout(wait);
    stream?.close();
    tails -= 1;
    if (began) restart();
  });
  const begin = async () => {
    const room = await isRoom();
    if (signal.aborted) return;
    if (!room) {
      failed(`${STREAMS_MAX} other tabs of this browser listen already: close one of them.`);
      wait = setTimeout(begin, AGAIN_MS);
      return;
    }
    stream = new EventSource(address(where, query));
    for (const kind of ["records", "messages", "gap", "refused"]) {
      stream.addEventListener(kind, (event) => take(kind, event.data ? JSON.parse(event.data) : null));
    }
    stream.onopen = () => failed("");
    stream.onerror = () => {
      failed("The connection broke; trying again.");
      if (stream.readyState === EventSource.CLOSED) wait = setTimeout(begin, AGAIN_MS);
    };
  };
  await begin();
}
