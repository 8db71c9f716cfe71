// A picture of what leads where: nodes in columns, curves between them. Nothing is laid out by a server.

import { svg } from "./dom.js";
import { visible } from "./texts.js";

const WIDTH = 190;
const HEIGHT = 44;
const GAP_X = 130;
const GAP_Y = 14;
const PASSING = 12; // what a line takes that goes past a column
const BOW = 60; // a line that goes back does so beside the columns, and below them
const BELOW = 12; // for each of these lines
const BELOW_MAX = 8; // more are drawn over each other
const ROUNDS = 6; // of sorting: more change little
const NAME_CHARS = 22;
const LABEL_CHARS = 18;

/**
 * Its nodes in columns from left to right: exchanges by how far they are from a first one, then queues.
 * What leads past a column has a place of its own there, {id, passes: true}, so that it goes behind nothing.
 */
export function columnsOf({ nodes, edges }) {
  const depth = depths(nodes, edges);
  const last = Math.max(0, ...nodes.filter((it) => it.kind === "exchange").map((it) => depth.get(it.id))) + 1;
  const all = Array.from({ length: last + 1 }, () => []);
  for (const it of nodes) all[it.kind === "queue" ? last : depth.get(it.id)].push(it);
  const columns = all.filter((it) => it.length);
  const column = new Map(columns.flatMap((it, x) => it.map(({ id }) => [id, x])));
  const links = [];
  for (const it of edges) {
    const way = wayOf(it, column);
    way.slice(1, -1).forEach((id, at) => columns[column.get(it.from) + 1 + at].push({ id, name: it.to, passes: true }));
    for (let at = 1; at < way.length; at += 1) links.push({ from: way[at - 1], to: way[at] });
  }
  return sorted(columns, links);
}

/** The ids that an edge goes by, from its beginning to its end. */
function wayOf(edge, column) {
  const [from, to] = [column.get(edge.from), column.get(edge.to)];
  if (from === undefined || to === undefined) return [];
  const between = Array.from({ length: Math.max(0, to - from - 1) }, (_, at) => `${keyOf(edge)} ${from + 1 + at}`);
  return [edge.from, ...between, edge.to];
}

/** The longest way to each exchange by bindings; where they go in a circle, a way without it. */
function depths(nodes, edges) {
  const exchanges = new Set(nodes.filter((it) => it.kind === "exchange").map((it) => it.id));
  const into = new Map([...exchanges].map((id) => [id, []]));
  for (const { from, to, kind } of edges) if (kind !== "dead-letter" && exchanges.has(from) && exchanges.has(to) && from !== to) into.get(to).push(from);
  const found = new Map();
  for (const start of exchanges) {
    // Without recursion: a chain of 500 exchanges is legal.
    const stack = [[start, 0]];
    const on = new Set([start]);
    while (stack.length) {
      const top = stack.at(-1);
      const [id, at] = top;
      const before = into.get(id);
      if (found.has(id) || at === before.length) {
        if (!found.has(id)) found.set(id, Math.max(0, ...before.filter((it) => found.has(it)).map((it) => found.get(it) + 1)));
        stack.pop();
        on.delete(id);
        continue;
      }
      top[1] += 1;
      const next = before[at];
      if (!found.has(next) && !on.has(next)) {
        stack.push([next, 0]);
        on.add(next);
      }
    }
  }
  return found;
}

/** Each column by the middle of its neighbours, so that few curves cross. */
function sorted(columns, edges) {
  const near = new Map(columns.flat().map((it) => [it.id, []]));
  for (const { from, to } of edges) {
    near.get(from)?.push(to);
    near.get(to)?.push(from);
  }
  const place = new Map();
  const number = () => columns.forEach((column) => column.forEach((it, at) => place.set(it.id, at / column.length)));
  columns.forEach((it) => it.sort((a, b) => (a.name < b.name ? -1 : 1)));
  number();
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const column of columns) {
      const middle = new Map(column.map((it) => {
        const all = near.get(it.id).filter((one) => place.has(one));
        return [it.id, all.length ? all.reduce((sum, one) => sum + place.get(one), 0) / all.length : place.get(it.id)];
      }));
      column.sort((a, b) => middle.get(a.id) - middle.get(b.id));
      number();
    }
  }
  return columns;
}

/**
 * path: edges that are to stand out, or null; picked: the id of a node; look(id): it is chosen.
 */
export function picture(graph, { path, picked, look }) {
  const columns = columnsOf(graph);
  const place = new Map(columns.flatMap((them, x) => them.map(({ id }) => [id, x])));
  const back = graph.edges.filter((it) => place.get(it.to) < place.get(it.from));
  const left = back.length ? BOW * 0.75 : GAP_Y;
  const heights = columns.map((column) => column.reduce((sum, it) => sum + heightOf(it) + GAP_Y, GAP_Y));
  const tallest = Math.max(...heights);
  const at = new Map();
  columns.forEach((nodes, x) => {
    let y = (tallest - heights[x]) / 2 + GAP_Y;
    for (const it of nodes) {
      at.set(it.id, [left + x * (WIDTH + GAP_X), y]);
      y += heightOf(it) + GAP_Y;
    }
  });
  const height = tallest + BELOW * Math.min(back.length, BELOW_MAX);
  const width = columns.length * (WIDTH + GAP_X) - GAP_X + left + GAP_Y + BOW * 0.75;
  const below = new Map(back.map((it, nth) => [it, tallest - GAP_Y / 2 + BELOW * (nth % BELOW_MAX)]));
  const lit = path && new Set(path.map(keyOf));
  const onWay = path && new Set(path.flatMap((it) => [it.from, it.to]));
  return svg("svg", { class: path ? "graph tried" : "graph", viewBox: `0 0 ${width} ${height}`, width, height,
    role: "group", "aria-label": "Exchanges, bindings and queues" },
  graph.edges.map((it) => curve(it, wayOf(it, place), at, lit?.has(keyOf(it)), below.get(it))),
  graph.nodes.map((it) => box(it, at.get(it.id), { picked: it.id === picked, lit: onWay?.has(it.id), look })));
}

const heightOf = (it) => (it.passes ? PASSING : HEIGHT);

const keyOf = (it) => JSON.stringify([it.from, it.to, it.kind, it.key, it.arguments]);

function curve(edge, way, at, lit, below) {
  if (!way.length) return null;
  const [from, to] = [at.get(edge.from), at.get(edge.to)];
  const begin = [from[0] + WIDTH, from[1] + HEIGHT / 2];
  const back = to[0] <= from[0];
  const line = to[0] === from[0] ? aside(begin, to) : back ? backwards(begin, to, below) : forwards(begin, way.slice(1, -1).map((it) => at.get(it)), [to[0], to[1] + HEIGHT / 2]);
  const text = edge.kind !== "binding" ? "" : edge.key || (Object.keys(edge.arguments).length ? "headers" : "");
  return svg("g", { class: `edge ${edge.kind}${lit ? " lit" : ""}` },
    svg("path", { d: line }, svg("title", null, whole(edge))),
    back ? null : svg("circle", { cx: to[0] - 3, cy: to[1] + HEIGHT / 2, r: 3 }),
    text && !back ? svg("text", { x: to[0] - 10, y: to[1] + HEIGHT / 2 - 5, "text-anchor": "end" }, cut(text, LABEL_CHARS)) : null);
}

/** Bows from column to column, and straight past the nodes of those between. */
function forwards(begin, past, end) {
  const bow = (a, b) => `C${a[0] + GAP_X / 2} ${a[1]} ${b[0] - GAP_X / 2} ${b[1]} ${b[0]} ${b[1]}`;
  let line = `M${begin.join(" ")}`;
  let here = begin;
  for (const [x, y] of past) {
    const middle = y + PASSING / 2;
    line += `${bow(here, [x, middle])}H${x + WIDTH}`;
    here = [x + WIDTH, middle];
  }
  return line + bow(here, end);
}

/** From a queue to one above or below it, or to itself: beside them. */
function aside([x, y], to) {
  const end = to[1] + HEIGHT / 2;
  const [from, into] = y === end ? [y - 10, y + 10] : [y, end];
  return `M${x} ${from}C${x + BOW} ${from} ${x + BOW} ${into} ${x} ${into}`;
}

/** From a queue to the exchange that its dead letters go to, below all columns. */
function backwards([x, y], to, below) {
  const [end, into] = [to[0], to[1] + HEIGHT / 2];
  return `M${x} ${y}C${x + BOW} ${y} ${x + BOW} ${below} ${x} ${below}H${end}C${end - BOW} ${below} ${end - BOW} ${into} ${end} ${into}`;
}

function whole(edge) {
  const what = edge.kind === "binding" ? "binding" : edge.kind === "alternate" ? "alternate exchange" : "dead letters";
  const more = Object.keys(edge.arguments).length ? ` ${JSON.stringify(edge.arguments)}` : "";
  return visible(`${what} ${edge.key ?? ""}${more}`);
}

function box(node, [x, y], { picked, lit, look }) {
  const queue = node.kind === "queue";
  const bad = node.flags.some((it) => it !== "no-consumer" || node.ready > 0);
  const under = queue ? `${node.ready ?? "?"} ready · ${node.consumers === 1 ? "1 consumer" : `${node.consumers ?? "?"} consumers`}` : `${node.type ?? ""}`;
  const said = `${node.kind} ${visible(node.name)}, ${under}${node.flags.length ? `, ${node.flags.join(", ")}` : ""}`;
  return svg("g", { class: `node ${node.kind}${picked ? " picked" : ""}${lit ? " lit" : ""}${bad ? " bad" : ""}`, transform: `translate(${x} ${y})`,
    "data-key": node.id, tabindex: "0", role: "button", "aria-pressed": String(Boolean(picked)), "aria-label": said,
    onclick: () => look(node.id),
    onkeydown: (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      look(node.id);
    } },
  svg("title", null, said),
  svg("rect", { width: WIDTH, height: HEIGHT, rx: queue ? 4 : HEIGHT / 2 }),
  svg("text", { class: "title", x: queue ? 10 : 18, y: 19 }, cut(node.name, NAME_CHARS)),
  svg("text", { class: "under", x: queue ? 10 : 18, y: 35 }, under));
}

function cut(text, most) {
  const shown = visible(text);
  return [...shown].length <= most ? shown : `${[...shown].slice(0, most - 1).join("")}…`;
}
