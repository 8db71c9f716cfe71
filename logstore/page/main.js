// The page: what stands around every view, and which view is open.

import { ask, news, Refused } from "./api.js";
import { tell } from "./dialogs.js";
import { button, h, link, named, put } from "./dom.js";
import { listen, restart, stop, want } from "./live.js";
import { login } from "./login.js";
import { choice, choose } from "./pins.js";
import { go, placeOf, to } from "./router.js";
import { commandsAt, visible } from "./texts.js";
import { View } from "./view.js";
import { VIEWS } from "./views.js";

const KEYS_MS = 1200; // between g and the letter behind it
const RETRY_MS = 2000;

const main = document.getElementById("main");
let leaving = new AbortController();
let who = null;
let open = "";

async function begin() {
  look(choice("theme", "auto"));
  drawNavigation();
  drawTop();
  window.addEventListener("hashchange", () => show(true));
  window.addEventListener("keydown", pressed);
  const forever = new AbortController().signal;
  listen((figures) => figures.health && drawHealth(figures.health), forever);
  await meet();
}

/** Learn who we are, then show where we are. */
async function meet() {
  try {
    who = await ask("whoami");
    commandsAt(who.directory);
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return;
    put(main, h("div", { class: "empty" }, h("h1", null, "No answer"),
      h("p", null, `${visible(error.message)}. Trying again.`)));
    setTimeout(meet, RETRY_MS);
    return;
  }
  drawTop();
  if (who.login_needed) askToLogin();
  else show(false);
}

/** Open the view that the address names. */
async function show(moved) {
  if (who === null || who.login_needed) return;
  const place = placeOf(location.hash);
  if (location.hash === "#main") return;
  const row = VIEWS.find((it) => it.word === place.view);
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  open = place.view;
  drawNavigation();
  document.querySelectorAll("dialog").forEach((it) => it.close());
  if (!row) {
    put(main, h("div", { class: "empty" }, h("h1", null, "No such view"),
      h("p", null, "The address names ", named(place.view), ". ", link(to("overview"), "Go to the overview"))));
    return;
  }
  const root = h("div", { class: `view ${row.word}`, "data-own": location.hash, "aria-busy": "true" });
  try {
    const module = await row.load();
    if (signal.aborted) return;
    main.replaceChildren(root);
    const view = new View(place, signal, root);
    await module.show(view);
    want(view.wanted);
  } catch (error) {
    if (signal.aborted) return;
    main.replaceChildren(root);
    root.append(h("div", { class: "empty" }, h("h1", null, row.title),
      h("p", null, `This view cannot be shown: ${visible(error.message)}.`), button("Try again", () => location.reload())));
    if (!(error instanceof Refused)) console.error(error);
  }
  root.removeAttribute("aria-busy");
  if (moved) {
    window.scrollTo(0, 0);
    (root.querySelector("h1") ?? main).focus({ preventScroll: true });
  }
}

// What stands around

function drawNavigation() {
  put(document.getElementById("navigation"), h("ul", null, VIEWS.map((it) =>
    h("li", null, h("a", { href: to(it.word), "aria-current": it.word === open ? "page" : null,
      "aria-keyshortcuts": `g ${it.key}` }, it.title)))));
}

const health = h("a", { id: "health", class: "unknown", href: to("overview"), "data-own": "health" }, h("span", { class: "dot", "aria-hidden": "true" }), "…");

function drawHealth({ state, warnings }) {
  const words = state === "ok" ? "healthy" : warnings?.length === 1 ? "1 warning" : `${warnings?.length ?? ""} warnings`.trim();
  health.className = state;
  put(health, h("span", { class: "dot", "aria-hidden": "true" }), state === "error" ? "not healthy" : words);
}

const THEMES = { auto: ["light", "◐"], light: ["dark", "○"], dark: ["auto", "●"] };

function drawTop() {
  const theme = choice("theme", "auto");
  const user = who && (who.user || (who.owner ? "owner" : ""));
  put(document.getElementById("top"),
    h("a", { class: "brand", href: to("overview") }, h("img", { src: "icon.svg", alt: "", width: 22, height: 22 }), "logstore"),
    health, h("span", { id: "unreachable", role: "status", "data-own": "unreachable" }),
    h("span", { class: "gap" }),
    button("?", help, { class: "small quiet", "aria-label": "Help: keys", title: "Keys (?)" }),
    button(THEMES[theme]?.[1] ?? "◐", () => {
      look(THEMES[choice("theme", "auto")]?.[0] ?? "auto");
      drawTop();
    }, { class: "small quiet", "aria-label": `Colours: ${theme}`, title: `Colours: ${theme}` }),
    user ? h("span", { class: "user" }, named(user)) : null,
    who?.user && !who.owner ? button("Log out", logout, { class: "small" }) : null);
}

function look(theme) {
  choose("theme", theme);
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

// Logins

let logins = null;

function askToLogin() {
  if (logins) return;
  stop();
  leaving.abort();
  logins = login(main, async () => {
    logins = null;
    who = null;
    restart();
    await meet();
  });
}

async function logout() {
  await ask("session", { method: "DELETE" }).catch(() => null);
  who = { login_needed: true };
  drawTop();
  askToLogin();
}

news.addEventListener("login", () => {
  who = { login_needed: true };
  drawTop();
  askToLogin();
});

news.addEventListener("unreachable", () => {
  document.getElementById("unreachable").textContent = "No connection to the server; trying again.";
});
news.addEventListener("reached", () => {
  const it = document.getElementById("unreachable");
  if (it?.textContent) it.textContent = "";
});

// Keys

let waitsForLetter = 0;

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  const typing = event.target.closest("input, textarea, select");
  if (typing) {
    if (event.key === "Escape") typing.blur();
    return;
  }
  const row = Date.now() - waitsForLetter < KEYS_MS && VIEWS.find((it) => it.key === event.key);
  waitsForLetter = 0;
  if (row) go(to(row.word));
  else if (event.key === "g") waitsForLetter = Date.now();
  else if (event.key === "/") document.querySelector("[data-filter]")?.focus();
  else if (event.key === "?") help();
  else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  else return;
  event.preventDefault();
}

/** To the link of the next row. */
function step(by) {
  const links = [...main.querySelectorAll("tbody tr a")].filter((it) => it === it.closest("tr").querySelector("a"));
  const at = links.indexOf(document.activeElement?.closest("tr")?.querySelector("a"));
  links[at < 0 ? 0 : Math.max(0, Math.min(links.length - 1, at + by))]?.focus();
}

function help() {
  const keys = [["/", "to the filter"], ["j  k", "to the next and the previous row"], ["Escape", "close a dialog, leave a field"],
    ["?", "this help"], ...VIEWS.map((it) => [`g ${it.key}`, it.title])];
  tell("Keys", h("dl", { class: "shortcuts" }, keys.map(([key, what]) => [h("dt", null, h("kbd", null, key)), h("dd", null, what)])));
}

begin();
