// What a view is made of: a heading, parts that each ask for themselves, and lists by the page.

import { ask } from "./api.js";
import { h, put } from "./dom.js";
import { list } from "./list.js";
import { want } from "./live.js";
import { remember } from "./router.js";
import { clock, visible } from "./texts.js";

const EVERY_MS = 5000;
const SELDOM_MS = 20_000;
const WORK_SHARE = 250;

/**
 * A view, from when its address is gone to until it is left. Its module has show(view), which puts
 * in what there is to see:
 *
 *   view.names, view.query    what stands in its address behind its word
 *   view.signal               aborted when it is left
 *   view.heading(crumbs, ...actions)
 *   view.part(spec)           something that is asked for, again every few seconds
 *   view.list(spec)           rows of the API, paged, sorted and filtered there (list.js)
 *   view.tabs(tabs)           addresses within it
 *   view.wants(query)         figures that the stream of events is to have (live.js)
 */
export class View {
  constructor(place, signal, root) {
    this.names = place.names;
    this.query = place.query;
    this.signal = signal;
    this.root = root;
    this.wanted = {};
  }

  /** crumbs: [["Topics", to("topics")], "orders"]: the last one is where we are. */
  heading(crumbs, ...actions) {
    const last = crumbs.at(-1);
    document.title = `${visible(textOf(last))} · logstore`;
    const trail = crumbs.slice(0, -1).map(([text, href]) => [
      h("a", { href }, typeof text === "string" ? visible(text) : text), h("span", { class: "slash", "aria-hidden": "true" }, "/"),
    ]);
    const title = h("h1", { tabindex: "-1" }, trail.length ? h("bdi", null, visible(last)) : visible(last));
    this.add(h("header", { class: "heading" },
      h("div", { class: "crumbs" }, trail.length ? h("nav", { "aria-label": "Where you are" }, trail) : null, title),
      h("div", { class: "actions" }, actions)));
  }

  add(...nodes) {
    this.root.append(...nodes.flat(Infinity).filter(Boolean));
  }

  /** tabs: [[word, title, href]]; the one that is open. */
  tabs(tabs, open) {
    this.add(h("nav", { class: "tabs", "aria-label": "Parts of this view" }, tabs.map(([word, title, href]) =>
      h("a", { href, "aria-current": word === open ? "page" : null }, title))));
  }

  wants(query) {
    this.wanted = query;
    want(query);
  }

  /** Have the address say this, and the view go on. */
  remember(changes) {
    remember(changes);
    this.root.dataset.own = location.hash;
    for (const [key, value] of Object.entries(changes)) {
      if (value === "" || value === null || value === undefined) this.query.delete(key);
      else this.query.set(key, value);
    }
  }

  /**
   * spec: {title, path, query, show(data) -> nodes, every, wide, act}. Its own request, one at a time;
   * what was shown stays, with its time, when an answer fails to come. Gives {element, refresh(), use(data)}.
   */
  part(spec) {
    const made = new Part(this, spec);
    if (!spec.apart) this.add(made.element);
    return made;
  }

  list(spec) {
    const made = list(this, spec);
    if (!spec.apart) this.add(made.element);
    return made;
  }

  /**
   * refresh() again and again until the view is left, at least so many ms apart; never while nobody
   * looks. It gives how much work the answer was: an open page
   * takes 0.4 % of a server's time at the most.
   */
  async repeat(refresh, least_ms = EVERY_MS) {
    let timer = 0;
    const next = (work) => {
      if (this.signal.aborted) return;
      clearTimeout(timer);
      timer = setTimeout(async () => next(document.hidden ? 0 : await refresh()),
        Math.max(least_ms, Math.min(SELDOM_MS, work * WORK_SHARE)));
    };
    const seen = async () => document.hidden || next(await refresh());
    document.addEventListener("visibilitychange", seen, { signal: this.signal });
    this.signal.addEventListener("abort", () => clearTimeout(timer));
    next(await refresh());
  }
}

const textOf = (it) => (Array.isArray(it) ? it[0] : it);

class Part {
  constructor(view, spec) {
    this.view = view;
    this.spec = spec;
    this.asking = null;
    this.data = null;
    this.since = 0;
    this.note = h("p", { class: "note", hidden: true });
    this.body = h("div", { class: "body" }, h("p", { class: "waiting dim" }, "Loading …"));
    this.element = h("section", { class: `part ${spec.wide ? "wide" : ""} ${spec.class ?? ""}` },
      spec.title ? h("header", null, h("h2", null, spec.title), spec.act ?? null) : null, this.note, this.body);
    if (!spec.path && !spec.apart) { // until somebody brings what it shows
      this.element.hidden = true;
      put(this.body);
    }
    this.work = this.last = 0; // of the last answers
    if (spec.path) view.repeat(() => this.refresh(), spec.every);
  }

  async refresh() {
    this.asking?.abort();
    const mine = (this.asking = new AbortController());
    const { path, query } = this.spec;
    try {
      const data = await ask(path, {
        query: typeof query === "function" ? query() : query,
        signal: AbortSignal.any([mine.signal, this.view.signal]),
        weighed: (ms) => ([this.work, this.last] = [Math.min(ms, this.last), ms]),
      });
      this.use(data);
    } catch (error) {
      if (error.name !== "AbortError") this.fail(error);
    } finally {
      if (this.asking === mine) this.asking = null;
    }
    return this.work;
  }

  /** Show this, wherever it came from. */
  use(data) {
    this.data = data;
    this.since = Date.now();
    this.note.hidden = true;
    this.element.hidden = false;
    put(this.body, this.spec.show(data));
  }

  fail(error) {
    this.work = 0;
    const before = this.since ? ` Shown as of ${clock(this.since)}.` : "";
    put(this.note, `${visible(error.message)}.`.replace(/\.+$/, "."), before);
    this.note.hidden = false;
    if (!this.since) put(this.body);
    if (!this.since && this.spec.failed) put(this.body, this.spec.failed(error));
  }
}
