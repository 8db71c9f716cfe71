"""What the page offers to copy does, in a shell elsewhere, what the page would have done."""

import json
import os
import re
import subprocess
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from cli_process import COMMAND

pytestmark = pytest.mark.foreign

NAMES = ["mail", "-rf", 'it\'s "x"', " ends ", "a/b?c=1#d", "x" * 255]
VHOSTS = ["/", "-v", "odd/ vhost", "/", "..", "/"]
ARGUMENTS = {"x-match": "all", "country": "ch", "number": "5"}


def encoded(name):
    return quote(name, safe="")


def ask(store, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-Logstore": "1", "Content-Type": "application/json"}
    with urlopen(Request(store.url + "api/v1/" + path, data, headers, method=method)) as answer:
        return json.load(answer)


def in_a_shell(command, folder):
    """Where nobody has said which store is meant."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTORE_")}
    environment["PATH"] = f"{COMMAND.parent}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stderr}"
    assert os.listdir(folder) == []
    return done.stdout


def offered(page, where="main"):
    page.until(f"document.querySelector('{where} .command')")
    return page.do("return await page.locator(given.it).first().getAttribute('data-own')",
                   it=f"{where} .command")  # fmt: skip


def asked_by(page, button):
    """The command of the dialog that a button opens, which is left."""
    page.do(
        "await page.getByRole('button', {name: given.it, exact: true}).first().click()", it=button
    )
    command = offered(page, "dialog")
    assert page.overflow() <= 0
    box = "document.querySelector('dialog')"
    assert page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 0
    page.key("Escape")
    return command


def surely(command):
    """The same where nobody is at the terminal to be asked."""
    return re.sub("^(logstore \\w+ \\w+)", r"\1 --yes", command)


@pytest.mark.parametrize(
    ("name", "vhost"), list(zip(NAMES, VHOSTS, strict=True)), ids=range(len(NAMES))
)
def test_commands_about_a_queue_do_it(browser, store, tmp_path, name, vhost):
    there, at = f"queues/{encoded(name)}?vhost={encoded(vhost)}", f"?vhost={encoded(vhost)}"
    ask(store, "PUT", f"vhosts/{encoded(vhost)}")
    ask(store, "PUT", f"exchanges/{encoded(name)}{at}", {"type": "headers"})
    ask(store, "PUT", there, {})
    bound = {
        "source": name,
        "destination": name,
        "kind": "queue",
        "key": "-k",
        "arguments": ARGUMENTS,
    }
    ask(store, "POST", f"bindings{at}", bound)
    page = browser.page(store.url, width=390)
    place = f"#/queues/{encoded(vhost)}/{encoded(name)}"
    publishes = offered(page.open(place))
    in_a_shell(publishes, tmp_path)
    in_a_shell(publishes.replace("hello", "again"), tmp_path)
    assert in_a_shell(offered(page.open(f"{place}/messages/1")), tmp_path) == "again\n"
    assert page.overflow() <= 0
    assert in_a_shell(offered(page.open(f"{place}/consumers")), tmp_path) == "hello\nagain\n"
    page.open(f"{place}/bindings")
    in_a_shell(asked_by(page, "Unbind …"), tmp_path)
    listed = ask(store, "GET", f"queues/{encoded(name)}/bindings{at}")["items"]
    assert [it["source"] for it in listed] == [""]
    page.open(f"{place}/danger")
    in_a_shell(surely(asked_by(page, "Purge …")), tmp_path)
    in_a_shell(surely(asked_by(page, "Delete queue …")), tmp_path)
    assert name not in [it["name"] for it in ask(store, "GET", f"queues{at}")["items"]]
    page.open(f"#/routing?v={encoded(vhost)}&focus={encoded('exchange:' + name)}")
    assert page.overflow() <= 0
    in_a_shell(surely(asked_by(page, "Delete …")), tmp_path)


def test_a_name_whose_ends_are_spaces_shows_them_and_can_be_typed(browser, store):
    ask(store, "PUT", "queues/%20held%20", {})
    ask(store, "POST", "exchanges//publish", {"key": " held ", "body": "x"})
    page = browser.page(store.url).open("#/queues")
    page.follow("\\x20held\\x20")
    page.arrived()
    page.open("#/queues/%2F/%20held%20/danger")
    for typed in (" held ", "\\x20held\\x20"):
        page.press("Delete queue …")
        page.sees("would be deleted", "dialog")
        page.do("await page.locator('#typed').fill(given.it)", it=typed)
        assert not page.evaluate("document.querySelector('dialog [type=submit]').disabled")
        page.key("Escape")


def test_nothing_else_is_asked_for_where_a_name_is_dots(browser, store):
    ask(store, "PUT", "queues/..", {})
    page = browser.page(store.url).open("#/queues/%2F/..")
    page.sees("use the command line", "main")
    page.open("#/topics/../groups")
    page.sees("use the command line", "main")
    assert page.complaints() == []
