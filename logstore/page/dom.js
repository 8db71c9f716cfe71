// The page's tree: made of text nodes and elements, never of markup.

import { nameOf, visible } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set(["value", "checked", "open", "indeterminate"]);

/** An element: h("a", {href: "#/topics", onclick: act}, "Topics"). Children: texts, nodes, lists, null. */
export const h = (tag, given, ...children) => made(document.createElement(tag), given, children);

/** The same for pictures. */
export const svg = (tag, given, ...children) =>
  made(document.createElementNS(SVG, tag), given, children);

function made(element, given, children) {
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function" || PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...shown(children));
  return element;
}

const shown = (children) =>
  children.flat(Infinity).filter((it) => it !== null && it !== undefined && it !== false);

/** What stands within an element becomes this; what is the same already is left alone. */
export function put(element, ...children) {
  const fresh = document.createDocumentFragment();
  fresh.append(...shown(children));
  morphWithin(element, fresh);
  return element;
}

const HANDLERS = ["onclick", "onchange", "oninput", "onkeydown", "onsubmit", "onpointermove", "onpointerleave"];

// Focus, scrolling and marked text stay where they are. An element with data-own looks after
// itself: it stays as it is for as long as the same one is wanted.
function morph(old, fresh) {
  if (old === fresh) return;
  const unlike = old.nodeName !== fresh.nodeName
    || old.dataset?.own !== fresh.dataset?.own || old.dataset?.key !== fresh.dataset?.key;
  if (unlike) {
    old.replaceWith(fresh);
  } else if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
  } else if (!old.dataset?.own) {
    for (const it of old.getAttributeNames()) if (!fresh.hasAttribute(it)) old.removeAttribute(it);
    for (const it of fresh.getAttributeNames()) {
      const value = fresh.getAttribute(it);
      if (old.getAttribute(it) !== value) old.setAttribute(it, value);
    }
    for (const it of HANDLERS) if (old[it] !== fresh[it]) old[it] = fresh[it];
    morphWithin(old, fresh);
  }
}

function morphWithin(old, fresh) {
  const wanted = [...fresh.childNodes];
  const keyed = new Map([...old.children].filter((it) => it.dataset.key).map((it) => [it.dataset.key, it]));
  wanted.forEach((child, at) => {
    const now = old.childNodes[at];
    const known = child.dataset?.key && keyed.get(child.dataset.key);
    if (known) {
      if (known !== now) old.insertBefore(known, now ?? null);
      morph(known, child);
    } else if (!now) {
      old.append(child);
    } else if (child.dataset?.key || now.dataset?.key) {
      old.insertBefore(child, now);
    } else {
      morph(now, child);
    }
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

/** A name as people gave it: shown apart from the direction of the text around it. */
export const named = (text) => h("bdi", { class: "name" }, nameOf(text));

export const mono = (text) => h("span", { class: "mono" }, visible(text));
export const dim = (...text) => h("span", { class: "dim" }, text);
/** A paragraph beside the point. */
export const aside = (...text) => h("p", { class: "dim" }, text);

/** A word in a frame. tone: fine, warn, bad. */
export const badge = (text, tone = "") => h("span", { class: `badge ${tone}`.trim() }, text);

/** [[term, node]], side by side. */
export const facts = (rows) => h("dl", { class: "facts" }, rows.map(([term, text]) =>
  h("div", null, h("dt", null, term), h("dd", null, text))));

export const link = (href, ...children) => h("a", { href }, children);

export function button(text, onclick, given) {
  return h("button", { type: "button", onclick, ...given }, text);
}

/** A command in a line, with a button that copies it. */
export function commandLine(text) {
  const copies = button("Copy", async () => {
    await copied(text);
    copies.textContent = "Copied";
    setTimeout(() => (copies.textContent = "Copy"), 1500);
  }, { class: "small", "aria-label": `Copy the command ${text}` });
  return h("span", { class: "command", "data-own": text }, h("code", null, visible(text)), copies);
}

/** Put a text on the clipboard, also where the page came without TLS. */
async function copied(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = h("textarea", { value: text, class: "offscreen", "aria-hidden": "true" });
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** Hand the browser a file to keep. */
export function download(filename, type, parts) {
  const href = URL.createObjectURL(new Blob(parts, { type }));
  h("a", { href, download: filename }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}
