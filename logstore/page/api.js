// What the page asks of the server: one layer that all requests go through.

import { encodeName } from "./texts.js";

const BASE = new URL("api/v1/", document.baseURI); // relative: the page may stand behind a prefix
const PATIENCE_MS = 30_000;

/** The server said no: status, and kind as the API names it. */
export class Refused extends Error {
  constructor(status, sentence, kind) {
    super(sentence);
    this.status = status;
    this.kind = kind;
  }
}

/** Nobody answered. */
class Unreachable extends Error {}

/** Told of "reached", "unreachable" and "login": the shell listens. */
export const news = new EventTarget();

/** path("topics", name, "partitions"): names are encoded. */
export const path = (...names) => names.map(segment).join("/");

/** Browsers make . and .. into another path, however they are written. */
function segment(name) {
  if (name === "." || name === "..") throw new Refused(0, `a browser cannot ask for what is named ${name}: use the command line`, "");
  return encodeName(name);
}

/** The address of something in the API. Query values that are null or "" are left out. */
export function address(where, query) {
  const pairs = Object.entries(query ?? {})
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeName(value)}`);
  return new URL(where + (pairs.length ? `?${pairs.join("&")}` : ""), BASE).href;
}

let fastest = Infinity; // of all answers: what the way there and back takes

/** Ask, and give what was answered; weighed(ms): the work that it was, about. Raises Refused, Unreachable, and AbortError once signal says so. */
export async function ask(where, { method = "GET", query, body, signal, weighed } = {}) {
  const began = performance.now();
  const response = await send(where, { method, query, body, signal, patience: PATIENCE_MS });
  const took = performance.now() - began;
  fastest = Math.min(fastest, took);
  weighed?.(took - fastest);
  return response.status === 204 ? null : read(() => response.json());
}

/** The same, answered line by line: each line of JSON is given to take(). */
export async function askLines(where, { body, method = "POST", query, signal }, take) {
  const response = await send(where, { method, query, body, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await read(() => reader.read());
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) if (line.trim()) take(JSON.parse(line));
    if (done) return;
  }
}

async function send(where, { method, query, body, signal, patience }) {
  const signals = [signal, patience && AbortSignal.timeout(patience)].filter(Boolean);
  const headers = { "X-Logstore": "1", Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const response = await read(() =>
    fetch(address(where, query), {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signals.length ? AbortSignal.any(signals) : undefined,
      cache: "no-store",
      redirect: "error",
    }),
  );
  news.dispatchEvent(new Event("reached"));
  if (response.ok) return response;
  throw await refusal(response);
}

async function refusal(response) {
  let told = {};
  try {
    told = await response.json();
  } catch {
    // Something on the way answered, in its own words.
  }
  const sentence = told.error ?? `the server answered ${response.status} ${response.statusText}`;
  if (response.status === 401) news.dispatchEvent(new Event("login"));
  return new Refused(response.status, sentence, told.kind ?? "");
}

async function read(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (error.name === "TimeoutError") throw new Unreachable("no answer within 30 seconds");
    news.dispatchEvent(new Event("unreachable"));
    throw new Unreachable("the server cannot be reached");
  }
}
