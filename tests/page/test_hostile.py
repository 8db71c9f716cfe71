"""Names and texts that mean harm; servers that go away; logins that end."""

import json
import signal
from urllib.request import Request, urlopen

import pytest
from page_store import Store

pytestmark = pytest.mark.foreign

SCRIPT = "<script>window.hit=1</script>"
IMAGE = '<img src=x onerror="window.hit=1">'
NAMES = [
    SCRIPT, IMAGE, "‮gpj.exe", "a\nb\tc", "x" * 255, "עברית", "%2F..%2F", "#/topics?f=1",
    "\u0085\u2028", "javascript:window.hit=1", "'\"`$(reboot)",
]  # fmt: skip


def ask(store, method, path, body=None):
    """One request of the API, as a program would make it."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-Logstore": "1", "Content-Type": "application/json"}
    with urlopen(Request(store.url + "api/v1/" + path, data, headers, method=method)) as answer:
        return json.load(answer)


def go_to(page, place):
    page.do("await page.evaluate((it) => { location.hash = it }, given.place)", place=place)


def unhurt(page):
    assert page.evaluate("window.hit ?? null") is None
    assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0


@pytest.mark.parametrize("text", NAMES, ids=range(len(NAMES)))
def test_no_key_value_or_header_is_anything_but_text(browser, store, text):
    name = f"hostile-{NAMES.index(text)}"
    store.run("topic", "create", name)
    value = json.dumps({"v": text, "h": text, text: 1})
    store.run("produce", name, "--format", "json", "--key-field", "v", "--header-field", "h",
              fed=value + "\n")  # fmt: skip
    page = browser.page(store.url).open(f"#/topics/{name}")
    page.sees("1 record", ".progress")
    unhurt(page)
    assert page.overflow() <= 0
    page.open(f"#/topics/{name}/records/0/0")
    unhurt(page)
    assert page.overflow() <= 0
    shown = page.text("main")
    assert not set(shown) & set("‮\u2028\u0085")
    if text == SCRIPT:
        assert text in shown
    assert page.complaints() == []


@pytest.mark.parametrize("text", NAMES, ids=range(len(NAMES)))
def test_no_name_in_an_address_is_anything_but_a_name(browser, store, text):
    """Neither one that is there nor one that is not."""
    page = browser.page(store.url)
    for view in ("topics", "groups"):
        page.open("#/topics")
        go_to(page, f"#/{view}/" + page.evaluate(f"encodeURIComponent({json.dumps(text)})"))
        page.until("document.querySelector('.note:not([hidden]), .progress .error')")
        unhurt(page)
        assert page.overflow() <= 0
    go_to(page, f"#/{text}")
    page.sees("No such view", "main")
    unhurt(page)


def test_no_script_but_ours_runs(browser, store):
    """What would get past the page meets its policy."""
    page = browser.page(store.url).open("#/topics")
    page.do("""await page.evaluate(() => {
        const it = document.createElement('script');
        try { it.textContent = 'window.hit = 1' } catch {}
        document.body.append(it);
        try { document.body.innerHTML = '<img src=x onerror=window.hit=1>' } catch {}
        const style = document.createElement('style');
        style.textContent = 'body { display: none }';
        document.head.append(style);
    })""")
    assert page.evaluate("window.hit ?? null") is None
    assert page.evaluate("getComputedStyle(document.body).display") == "grid"
    assert any("Content Security Policy" in it for it in page.complaints())


def test_a_restart_of_the_server_is_lived_through(browser, tmp_path):
    """What was shown stays, and says from when it is; then it goes on by itself."""
    store = Store(tmp_path / "data")
    store.run("topic", "create", "before")
    page = browser.page(store.url).open("#/topics")
    assert [row[1] for row in page.rows("Topics")] == ["before"]
    store.stop(signal.SIGKILL)
    page.do("await page.getByRole('button', {name: 'Records', exact: true}).click()")
    page.sees("the server cannot be reached. Shown as of", ".note")
    page.sees("No connection to the server", "#unreachable")
    assert [row[1] for row in page.rows("Topics")] == ["before"]
    store.run("topic", "create", "while-away")
    http = store.http
    again = Store(tmp_path / "data", http_port=http[1])
    try:
        page.until("document.querySelectorAll('tbody tr').length === 2")
        page.until("document.querySelector('#unreachable').innerText === ''")
        page.until("document.querySelector('.note').hidden")
    finally:
        again.stop()


def test_a_login_that_ended_is_asked_for_again_where_one_was(browser, tmp_path):
    store = Store(tmp_path / "data")
    try:
        store.run("topic", "create", "kept")
        page = browser.page(store.url).open("#/topics")
        page.press("Partitions")
        page.arrived("#/topics?s=-partitions")
        store.run("user", "add", "root", "--tag", "administrator", fed="secret-of-root\n")
        store.run("user", "add", "ana", fed="secret-of-ana\n")
        page.sees("Log in", "main h1")  # as soon as there are users, by itself
        assert page.faults() == []
        page.fill("User", "root")
        page.fill("Password", "wrong")
        page.key("Enter")
        page.until("document.querySelector('.login .error').innerText")
        page.fill("Password", "secret-of-root")
        page.key("Enter")
        page.sees("kept", "tbody")
        assert "s=-partitions" in page.evaluate("location.hash")
        page.sees("root", "#top")
        page.do("await context.clearCookies()")
        page.press("Records")
        page.sees("Log in", "main h1")
        page.fill("User", "ana")
        page.fill("Password", "secret-of-ana")
        page.key("Enter")
        page.sees("may not use this", ".login .error")
        page.fill("User", "root")
        page.fill("Password", "secret-of-root")
        page.key("Enter")
        page.sees("kept", "tbody")
        page.open("#/server/users")
        assert [row[:2] for row in page.rows("Users")] == [["ana", ""], ["root", "administrator"]]
        page.press("Log out")
        page.sees("Log in", "main h1")
        page.do("await page.reload()")
        page.sees("Log in", "main h1")
    finally:
        store.stop()


def test_it_works_behind_a_prefix(browser, store):
    """Every address is relative, so that a proxy may put the page below a path of its own."""
    store.run("topic", "create", "behind")
    page = browser.page(store.url + "broker/page/")
    page.do(
        """await context.route(/\\/broker\\/page\\//, (route) =>
        route.continue({url: route.request().url().replace('/broker/page/', '/')}))"""
    )
    page.open("#/topics?f=behind")
    assert [row[1] for row in page.rows("Topics")] == ["behind"]
    page.open("#/topics/behind")
    page.sees("There are no records here", "main")


EVERY_VIEW = [
    "overview", "topics", "topics/orders", "topics/orders/partitions", "topics/orders/groups",
    "topics/orders/settings", "topics/secret", "topics/secret/settings", "groups", "groups/hidden",
    "queues", "routing", "channels", "connections", "connections/sessions", "server",
    "server/users", "server/rules",
    "server/jobs", "server/audit", "server/doctor",
]  # fmt: skip


@pytest.mark.parametrize("tag", ["management", "monitoring"])
def test_who_may_see_little_sees_it_without_a_fault(browser, tmp_path, tag):
    """What is not allowed is said where it would stand; nothing else breaks, nothing leaks."""
    store = Store(tmp_path / "data")
    try:
        for topic in ("orders", "secret"):
            store.run("topic", "create", topic)
            store.run("produce", topic, fed=f"a record of {topic}\n")
        store.run("consume", "secret", "--group", "hidden")
        store.run("user", "add", "root", "--tag", "administrator", fed="secret-of-root\n")
        store.run("user", "add", "ann", "--tag", tag, fed="secret-of-ann\n")
        store.run("acl", "allow", "ann", "read", "topic:orders")
        page = browser.page(store.url)
        page.do("await page.goto(given.url)", url=store.url)
        page.sees("Log in", "main h1")
        page.fill("User", "ann")
        page.fill("Password", "secret-of-ann")
        page.key("Enter")
        page.sees("ann", "#top .user")
        for view in EVERY_VIEW:
            page.open(f"#/{view}")
            shown = page.text("main")
            assert "a record of secret" not in shown
            assert "undefined" not in shown
            assert page.faults() == []
        broken = [it for it in page.complaints() if "status of 40" not in it]
        assert broken == []
        page.open("#/topics")
        names = [row[1] for row in page.rows("Topics")]
        assert "orders" in names
        assert ("secret" in names) == (tag == "monitoring")
        page.open("#/topics/orders")
        page.sees("1 record", ".progress")
        page.open("#/topics/secret")
        page.until("document.querySelector('.progress .error')")
        page.open("#/server/users")
        page.until("document.querySelector('.note:not([hidden])')")
    finally:
        store.stop()


def test_many_tabs_of_one_browser_do_not_hang(browser, store):
    """A browser has six connections to a server: streams of events may not take them all."""
    store.run("topic", "create", "of-all-tabs")
    first = browser.page(store.url).open("#/overview")
    told = first.do(
        """const told = [];
        for (let it = 0; it < 8; it += 1) {
          const tab = await context.newPage();
          await tab.goto(given.url + '#/topics?f=of-all-tabs');
          await tab.getByText('1 topic', {exact: true}).waitFor();
          await tab.locator('#health.ok').waitFor();
          told.push(await tab.locator('tbody tr').count());
        }
        return told""",
        url=store.url,
    )
    assert told == [1] * 8
    streams = [it for it in ask(store, "GET", "connections?door=http")["items"]
               if it["state"] == "listening"]  # fmt: skip
    assert 1 <= len(streams) <= 4
