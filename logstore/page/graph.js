// A picture of what leads where: nodes in columns, curves between them. Nothing is laid out by a server.

import { svg } from "./dom.js";
import { visible } from "./texts.js";

const WIDTH = 190;
const HEIGHT = 44;
const GAP_X = 130;
const GAP_Y = 14;
const ROUNDS = 6; // of sorting: more change little
const NAME_CHARS = 22;
const LABEL_CHARS = 18;

/** Its nodes in columns from left to right: exchanges by how far they are from a first one, then queues. */
export function columnsOf({ nodes, edges }) {
  const depth = depths(nodes, edges);
  const last = Math.max(0, ...nodes.filter((it) => it.kind === "exchange").map((it) => depth.get(it.id))) + 1;
  const columns = Array.from({ length: last + 1 }, () => []);
  for (const it of nodes) columns[it.kind === "queue" ? last : depth.get(it.id)].push(it);
  return sorted(columns.filter((it) => it.length), edges);
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
  const rows = Math.max(...columns.map((it) => it.length));
  const height = rows * (HEIGHT + GAP_Y) + GAP_Y;
  const width = columns.length * WIDTH + (columns.length - 1) * GAP_X + 2 * GAP_Y + 40;
  const at = new Map();
  columns.forEach((column, x) => column.forEach((it, y) => at.set(it.id, [
    GAP_Y + x * (WIDTH + GAP_X),
    (height - column.length * (HEIGHT + GAP_Y) + GAP_Y) / 2 + y * (HEIGHT + GAP_Y),
  ])));
  const lit = path && new Set(path.map(keyOf));
  const onWay = path && new Set(path.flatMap((it) => [it.from, it.to]));
  return svg("svg", { class: path ? "graph tried" : "graph", viewBox: `0 0 ${width} ${height}`, width, height,
    role: "group", "aria-label": "Exchanges, bindings and queues" },
  graph.edges.map((it) => curve(it, at, lit?.has(keyOf(it)))),
  graph.nodes.map((it) => box(it, at.get(it.id), { picked: it.id === picked, lit: onWay?.has(it.id), look })));
}

const keyOf = (it) => JSON.stringify([it.from, it.to, it.kind, it.key, it.arguments]);

function curve(edge, at, lit) {
  const [from, to] = [at.get(edge.from), at.get(edge.to)];
  if (!from || !to) return null;
  const begin = [from[0] + WIDTH, from[1] + HEIGHT / 2];
  const back = to[0] <= from[0];
  const end = back ? [to[0] + WIDTH / 2, to[1] + HEIGHT] : [to[0], to[1] + HEIGHT / 2];
  const bow = back ? 60 : GAP_X / 2;
  const line = back ? `M${begin} C${begin[0] + bow} ${begin[1]} ${end[0]} ${end[1] + bow + 30} ${end}`
    : `M${begin} C${begin[0] + bow} ${begin[1]} ${end[0] - bow} ${end[1]} ${end}`;
  const text = edge.kind !== "binding" ? "" : edge.key || (Object.keys(edge.arguments).length ? "headers" : "");
  return svg("g", { class: `edge ${edge.kind}${lit ? " lit" : ""}` },
    svg("path", { d: line }, svg("title", null, whole(edge))),
    back ? null : svg("circle", { cx: end[0] - 3, cy: end[1], r: 3 }),
    text && !back ? svg("text", { x: end[0] - 10, y: end[1] - 5, "text-anchor": "end" }, cut(text, LABEL_CHARS)) : null);
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
