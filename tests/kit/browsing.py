"""A real browser, headless, that a test tells what to do: Debian's chromium, driven from node.

Without one a test is skipped; with ``LOGSTORE_TEST_BROWSER=required`` in the environment it fails.
"""

import json
import os
import shutil
import subprocess

import pytest
import workshop

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SOURCE = workshop.HERE.parents[1] / "page"
FILES = ("package.json", "package-lock.json", "browser.mjs")
DEADLINE_S = 90
# Asked again and again from outside: the page's own policy lets nothing in it evaluate a text.
_UNTIL = """
const end = Date.now() + 15000;
while (!(await page.evaluate(`Boolean(${given.script})`))) {
  if (Date.now() > end) throw new Error(`never: ${given.script}`);
  await new Promise((go) => setTimeout(go, 20));
}"""


def _lacks(reason):
    if os.environ.get("LOGSTORE_TEST_BROWSER") == "required":
        pytest.fail(f"no browser: {reason}")
    pytest.skip(f"no browser: {reason}")


def _built():
    """The folder of the driver, with its dependencies."""
    sources = [SOURCE / it for it in FILES]

    def build(folder):
        for it in sources:
            shutil.copy(it, folder)
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--cache", workshop.CACHE / "npm"],
            cwd=folder, capture_output=True, text=True, timeout=workshop.BUILD_S,
        )  # fmt: skip
        if done.returncode:
            raise workshop.NoTool(f"npm ci failed: {done.stderr[-300:]}")

    return workshop.once("page", sources, build)


class Browser:
    """One process; ``page`` gives a fresh page in it."""

    def __init__(self):
        found = [it for it in map(shutil.which, CHROMIUM) if it]
        for tool in ("node", "npm"):
            if shutil.which(tool) is None:
                _lacks(f"{tool} is not installed")
        if not found:
            _lacks("chromium is not installed")
        try:
            folder = _built()
        except workshop.NoTool as lacking:
            _lacks(lacking)
        from speaking import Program  # once its asserts are rewritten, where that is asked for

        self._driver = Program(["node", folder / "browser.mjs", found[0]])
        self.version = self._driver.next(DEADLINE_S)["version"]

    def close(self):
        self._driver.close()

    def do(self, body, given=None):
        """The result of JavaScript code that can use ``page`` and ``given``."""
        self._driver.process.stdin.write(json.dumps({"do": body, "given": given}) + "\n")
        self._driver.process.stdin.flush()
        told = self._driver.next(DEADLINE_S)
        assert "error" not in told, f"{told.get('error')}\n{body}"
        return told["value"]

    def page(self, url, **window):
        """scheme: light or dark; width, height."""
        self.do("await kit.open(given)", window)
        return Page(self, url)


class Page:
    """A page in it, as somebody uses it: by what is written on things."""

    def __init__(self, browser, url):
        self.browser, self.url = browser, url

    def do(self, body, **given):
        return self.browser.do(body, given)

    def open(self, place="#/overview"):
        """Go to the address, and wait until it shows a view."""
        self.do(
            "if (page.url() === given.url) await page.reload(); else await page.goto(given.url)",
            url=self.url + place,
        )
        return self.arrived()

    def arrived(self, place=None):
        """Wait for the view of the address, or of ``place`` if given."""
        if place is not None:
            self.until(f"location.hash === {json.dumps(place)}")
        self.until("document.querySelector('main > *')?.dataset.own === location.hash")
        return self.settled()

    def settled(self):
        """Wait until no request of the view is pending."""
        self.until(
            "document.querySelector('main h1')"
            " && !document.querySelector('[aria-busy], .waiting, .list.asking')"
        )
        return self

    def text(self, where="main"):
        return self.do("return await page.locator(given.where).first().innerText()", where=where)

    def texts(self, where):
        return self.do("return await page.locator(given.where).allInnerTexts()", where=where)

    def rows(self, caption):
        """The cells of a table as texts."""
        return self.do(
            """return await page.locator(`table:has(caption:text-is("${given.caption}"))`).first()
            .locator("> tbody > tr").evaluateAll((rows) =>
              rows.map((it) => [...it.cells].map((one) => one.innerText)))""",
            caption=caption,
        )

    def press(self, button):
        self.do("await page.getByRole('button', {name: given.button}).click()", button=button)

    def follow(self, link):
        self.do(
            "await page.getByRole('link', {name: given.link, exact: true}).first().click()",
            link=link,
        )

    def confirm(self, verb):
        """Press the dialog's confirming button, whose text is ``verb``."""
        submit = "dialog [type=submit]"
        assert self.text(submit) == verb
        self.do("await page.locator(given.where).click()", where=submit)

    def fill(self, label, text):
        self.do(
            "await page.getByLabel(given.label, {exact: true}).fill(given.text)",
            label=label, text=text,
        )  # fmt: skip

    def choose(self, label, option):
        self.do(
            "await page.getByLabel(given.label, {exact: true}).selectOption(given.option)",
            label=label, option=option,
        )  # fmt: skip

    def key(self, *keys):
        for it in keys:
            self.do("await page.keyboard.press(given.key)", key=it)

    def sees(self, text, where="body"):
        """Wait until the text is visible."""
        self.do(
            "await page.locator(given.where).filter({hasText: given.text}).first().waitFor()",
            text=text, where=where,
        )  # fmt: skip

    def evaluate(self, script):
        return self.do("return await page.evaluate(given.script)", script=script)

    def until(self, script):
        """Wait until the script returns true in the page."""
        self.do(_UNTIL, script=script)

    def complaints(self):
        """Errors and warnings in the console since the last call."""
        return self.do("return kit.said()")

    def faults(self):
        """The faults that axe-core finds in the page."""
        return self.do("return await kit.axe()")

    def overflow(self):
        """By how many pixels the page exceeds the window's width."""
        return self.evaluate("document.documentElement.scrollWidth - innerWidth")

    def shoot(self, path):
        self.do("await page.screenshot({path: given.path})", path=str(path))
