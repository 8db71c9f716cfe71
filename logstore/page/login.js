// Logging in: in the place of a view, for as long as nobody is.

import { ask } from "./api.js";
import { h, put } from "./dom.js";
import { visible } from "./texts.js";

/** Ask for a name and a password; done() once they are right. */
export function login(main, done) {
  document.title = "Log in · logstore";
  const user = h("input", { id: "user", name: "user", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
  const password = h("input", { id: "password", name: "password", type: "password", autocomplete: "current-password", required: true });
  const error = h("p", { class: "error", role: "alert" });
  const submit = h("button", { type: "submit", class: "primary" }, "Log in");
  const form = h("form", {
    class: "login", "data-own": "login",
    onsubmit: async (event) => {
      event.preventDefault();
      submit.disabled = true;
      error.textContent = "";
      try {
        await ask("session", { method: "POST", body: { user: user.value, password: password.value } });
        password.value = "";
        await done();
      } catch (failure) {
        error.textContent = visible(failure.message);
        password.select();
      } finally {
        submit.disabled = false;
      }
    },
  },
  h("h1", null, "Log in"),
  h("div", { class: "field" }, h("label", { for: "user" }, "User"), user),
  h("div", { class: "field" }, h("label", { for: "password" }, "Password"), password),
  error, h("div", { class: "actions" }, submit),
  h("p", { class: "dim" }, "A user of the page has a tag: monitoring to look, administrator to do everything."));
  put(main, form);
  user.focus();
  return form;
}
