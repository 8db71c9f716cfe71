// Questions that stand over the page: forms, and what asks before something is lost.

import { button, commandLine, h, named, put } from "./dom.js";
import { nameOf, visible } from "./texts.js";

const results = () => document.getElementById("results");

/** Say what was done. It stays until somebody closes it. */
export function said(sentence, tone = "done") {
  const line = h("div", { class: `result ${tone}` }, h("span", null, sentence),
    button("Close", () => line.remove(), { class: "small", "aria-label": "Close this message" }));
  results().append(line);
  while (results().children.length > 4) results().firstChild.remove();
}

function dialog(title, content, closed) {
  const box = h("dialog", { "aria-labelledby": "dialog-title" },
    h("h2", { id: "dialog-title" }, title), content);
  const before = document.activeElement;
  box.addEventListener("close", () => {
    box.remove();
    closed?.();
    if (before?.isConnected) before.focus();
  });
  document.body.append(box);
  box.showModal();
  return box;
}

/** A plain message with nodes in it. */
export function tell(title, ...content) {
  const box = dialog(title, [content, h("div", { class: "actions" }, button("Close", () => box.close()))]);
  return box;
}

/**
 * A form. fields: [{name, label, value, type, help, options, required, rows}]; type: text, number,
 * textarea, select, checkbox, password. act(values) does it and gives the sentence that says so
 * (or null). preview(values, signal) -> nodes that show beforehand what it will do.
 */
export function form({ title, about, fields, verb, act, command, preview, danger }) {
  const ended = new AbortController();
  const error = h("p", { class: "error", role: "alert" });
  const shows = h("div", { class: "preview" });
  const tells = h("div");
  const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, verb);
  const inputs = new Map(fields.map((it) => [it.name, input(it)]));
  const values = () => Object.fromEntries(fields.map((it) => [it.name, valueOf(inputs.get(it.name))]));
  let seen = 0;
  let seeing = null;
  const look = async () => {
    const words = commandOf(command, values());
    put(tells, words && [h("p", { class: "dim" }, "The same on the command line"), commandLine(words)]);
    if (!preview) return;
    seeing?.abort();
    seeing = new AbortController();
    const turn = (seen += 1);
    submit.disabled = true;
    const signal = AbortSignal.any([seeing.signal, ended.signal]);
    try {
      const nodes = await preview(values(), signal);
      if (turn !== seen) return;
      put(shows, nodes);
      error.textContent = "";
      submit.disabled = false;
    } catch (failure) {
      if (turn !== seen || signal.aborted) return;
      put(shows);
      error.textContent = visible(failure.message);
    }
  };
  const content = h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      submit.disabled = true;
      error.textContent = "";
      try {
        const sentence = await act(values());
        box.close();
        if (sentence) said(sentence);
      } catch (failure) {
        if (failure.name !== "AbortError") error.textContent = visible(failure.message);
        submit.disabled = false;
      }
    },
  },
  about && h("p", null, about),
  h("div", { class: "fields" }, fields.map((it) => field(it, inputs.get(it.name)))),
  shows, tells, error,
  h("div", { class: "actions" }, button("Cancel", () => box.close()), submit));
  let pause = 0;
  content.addEventListener("input", () => {
    if (preview) submit.disabled = true; // nothing is done that was not shown
    clearTimeout(pause);
    pause = setTimeout(look, 250);
  });
  const box = dialog(title, content, () => ended.abort());
  content.querySelector("input, textarea, select")?.focus();
  look();
  return box;
}

/** The command for what stands in a form; null while what stands there is none. */
function commandOf(command, given) {
  try {
    return command?.(given);
  } catch {
    return null;
  }
}

function input(it) {
  const given = { id: `field-${it.name}`, name: it.name, required: it.required,
    "aria-describedby": it.help && `help-${it.name}`, ...it.given };
  if (it.type === "select") {
    return h("select", given, it.options.map((option) => {
      const [value, text] = Array.isArray(option) ? option : [option, option];
      return h("option", { value, selected: value === it.value }, text);
    }));
  }
  if (it.type === "textarea") return h("textarea", { rows: it.rows ?? 6, ...given, value: it.value ?? "" });
  if (it.type === "checkbox") return h("input", { type: "checkbox", ...given, checked: Boolean(it.value) });
  return h("input", { type: it.type ?? "text", autocomplete: "off", spellcheck: "false", ...given, value: it.value ?? "" });
}

const valueOf = (it) => (it.type === "checkbox" ? it.checked : it.value);

function field(it, element) {
  return h("div", { class: `field ${it.type ?? "text"}` },
    h("label", { for: element.id }, it.label), element,
    it.help && h("p", { class: "dim", id: `help-${it.name}` }, it.help));
}

/**
 * Ask before something is lost. verb: "Delete topic", object: its name; effect(signal) -> nodes, by a dry
 * run; type: its name has to be typed; command: the same on the command line; act() -> the sentence
 * that says what was done.
 */
export function danger({ verb, object, effect, irreversible = "This cannot be undone.", type, command, act }) {
  const ended = new AbortController();
  const error = h("p", { class: "error", role: "alert" });
  const shows = h("div", { class: "preview" }, h("p", { class: "dim" }, "Asking what it would do …"));
  const submit = h("button", { type: "submit", class: "danger", disabled: true }, `${verb} ${visible(object)}`);
  const typed = h("input", { id: "typed", autocomplete: "off", spellcheck: "false", oninput: () => check() });
  let known = !effect;
  let asks = Boolean(type === true);
  const check = () => (submit.disabled = !known || (asks && typed.value !== object && typed.value !== nameOf(object)));
  const typing = h("div", { class: "field" });
  const ask = () => put(typing, asks && [h("label", { for: "typed" }, "Type ", named(object), " to go on"), typed]);
  const content = h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      if (submit.disabled) return;
      submit.disabled = true;
      error.textContent = "";
      try {
        const sentence = await act();
        box.close();
        said(sentence);
      } catch (failure) {
        if (failure.name !== "AbortError") error.textContent = visible(failure.message);
        check();
      }
    },
  }, effect ? shows : null, irreversible && h("p", { class: "irreversible" }, irreversible), typing,
  command && [h("p", { class: "dim" }, "The same on the command line"), commandLine(command)], error,
  h("div", { class: "actions" }, button("Cancel", () => box.close(), { autofocus: true }), submit));
  const box = dialog([`${verb} `, named(object), "?"], content, () => ended.abort());
  ask();
  check();
  if (effect) {
    effect(ended.signal).then((nodes) => {
      known = true;
      if (typeof type === "function") asks = type();
      put(shows, nodes);
      ask();
      check();
    }, (failure) => {
      if (failure.name === "AbortError") return;
      put(shows);
      error.textContent = visible(failure.message);
    });
  }
  return box;
}
