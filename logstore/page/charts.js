// Histories as pictures: a small line in a row, a large one with its scale and what stands under the pointer.

import { h, svg } from "./dom.js";
import { clock, perSecond, share, span } from "./texts.js";

const POINTS_MIN = 30;

/** A line of 120 x 24: how something went. Values that are null leave a gap. */
export function sparkline(values, what, tone = "in", { width = 120, height = 24 } = {}) {
  const top = highest([values]);
  const said = `${what}: ${describe(values, perSecond)}`;
  return svg("svg", { class: `spark ${tone}`, viewBox: `0 0 ${width} ${height}`, width, height,
    role: "img", "aria-label": said },
    svg("path", { class: "area", d: area(values, top, width, height) }),
    svg("path", { class: "line", d: line(values, top, width, height) }));
}

/**
 * Lines over time with a scale. series: [{name, values, tone}]; step_s between values, the last one now.
 * show(value) is its text.
 */
export function chart(title, series, step_s, show = perSecond) {
  const width = 600;
  const height = 120;
  const first = begin(series);
  series = series.map((it) => ({ ...it, values: it.values.slice(first) }));
  const top = highest(series.map((it) => it.values));
  const count = Math.max(2, ...series.map((it) => it.values.length));
  const length = (count - 1) * step_s * 1000;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none",
    role: "img", "aria-label": series.map((it) => `${it.name}: ${describe(it.values, show)}`).join(". ") },
    [0.25, 0.5, 0.75].map((it) => svg("path", { class: "grid", d: `M0 ${height * it}H${width}` })),
    series.map((it) => [
      svg("path", { class: `area ${it.tone}`, d: area(it.values, top, width, height) }),
      svg("path", { class: `line ${it.tone}`, d: line(it.values, top, width, height) }),
    ]));
  const under = h("p", { class: "under", "data-own": "under" }, "\u00a0");
  const frame = h("div", { class: "plot" }, picture,
    h("span", { class: "scale" }, known(series.flatMap((it) => it.values)).length ? show(top) : "nothing yet"));
  const now = Date.now();
  frame.onpointermove = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const at = Math.round(((event.clientX - box.left) / box.width) * (count - 1));
    if (at < 0 || at >= count) return;
    const when = clock(now - (count - 1 - at) * step_s * 1000);
    underOf(event).textContent = [when, ...series.map((it) => `${it.name} ${show(valueAt(it.values, at, count))}`)].join("  ·  ");
  };
  frame.onpointerleave = (event) => (underOf(event).textContent = "\u00a0");
  return h("figure", { class: "chart" },
    h("figcaption", null, h("span", { class: "chart-title" }, title),
      series.map((it) => h("span", { class: `legend ${it.tone}` }, `${it.name} ${show(it.values.at(-1) ?? null)}`))),
    frame,
    h("div", { class: "times dim" }, h("span", null, `${span(length)} ago`), under, h("span", null, "now")));
}

/** Where a picture begins: with what is known, but not with less than some minutes. */
function begin(series) {
  const firsts = series.map(({ values }) => values.findIndex((it) => it !== null)).filter((it) => it >= 0);
  return Math.max(0, Math.min(...firsts, series[0].values.length - POINTS_MIN));
}

/** How much of something is used: 0 to 1. */
function bar(part, what) {
  const used = Math.max(0, Math.min(1, part ?? 0));
  const tone = used >= 0.9 ? "bad" : used >= 0.8 ? "warn" : "fine";
  return svg("svg", { class: `bar ${tone}`, viewBox: "0 0 100 6", width: 72, height: 6,
    preserveAspectRatio: "none", role: "img", "aria-label": `${what}: ${Math.round(used * 100)} %` },
    svg("rect", { class: "whole", width: 100, height: 6, rx: 3 }),
    svg("rect", { class: "used", width: (used * 100).toFixed(1), height: 6, rx: 3 }));
}

/** The same with its number. */
export const used = (part, what) => [bar(part, what), h("span", { class: "percent" }, share(part))];

const underOf = (event) => event.currentTarget.parentNode.querySelector(".under");
const known = (values) => values.filter((it) => it !== null && it !== undefined).map(Number);
const highest = (lists) => Math.max(0, ...lists.flatMap((it) => known(it))) || 1;
const valueAt = (values, at, count) => values[at - (count - values.length)] ?? null;

function describe(values, show) {
  const there = known(values);
  if (!there.length) return "nothing known yet";
  return `now ${show(there.at(-1))}, highest ${show(Math.max(...there))}, lowest ${show(Math.min(...there))}`;
}

function points(values, top, width, height) {
  const step = width / Math.max(1, values.length - 1);
  return values.map((it, at) => it === null || it === undefined ? null
    : [(at * step).toFixed(1), (height - 1.5 - (Number(it) / top) * (height - 3)).toFixed(1)]);
}

function runs(values, top, width, height) {
  const found = [[]];
  for (const it of points(values, top, width, height)) {
    if (it) found.at(-1).push(it);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((it) => it.length);
}

function line(values, top, width, height) {
  return runs(values, top, width, height).map((run) => `M${run.map((it) => it.join(" ")).join("L")}h.01`).join("");
}

function area(values, top, width, height) {
  return runs(values, top, width, height)
    .map((run) => `M${run[0][0]} ${height}L${run.map((it) => it.join(" ")).join("L")}L${run.at(-1)[0]} ${height}Z`)
    .join("");
}
