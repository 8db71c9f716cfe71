"""Each view in a real browser: what it shows, that it complains of nothing, who can use it."""

import json
import socket

import pytest
from page_store import Store

import logstore

pytestmark = pytest.mark.foreign

LINES = [
    '{"id": 9007199254740993, "delay": [1.10, 2e3], "note": "<script>window.hit = 1</script>"}',
    "one coffee",
    "",
    "two teas",
]
VIEWS = [
    "#/overview", "#/topics", "#/topics/orders", "#/topics/orders/partitions",
    "#/topics/orders/groups", "#/topics/orders/routes", "#/topics/orders/settings",
    "#/topics/orders/danger",
    "#/topics/orders/records/0/0", "#/groups", "#/groups/billing", "#/connections", "#/server",
    "#/connections/sessions",
    "#/server/users", "#/server/rules", "#/server/jobs", "#/server/audit", "#/server/doctor",
]  # fmt: skip
LOADED_BYTES_MAX = 150_000


@pytest.fixture(scope="module")
def filled(store):
    """Two topics, of which a group has read one in part."""
    store.run("topic", "create", "orders", "--partitions", 1)
    store.run("topic", "create", "flights", "--partitions", 3)
    store.run("produce", "orders", "--key", "k1", "--header", "trace=abc", "--format", "raw",
              fed="\n".join(LINES) + "\n")  # fmt: skip
    store.run("produce", "flights", fed="".join(f"flight {it}\n" for it in range(300)))
    store.run("consume", "orders", "--group", "billing", "--max", 1)
    return store


def nothing_else(page):
    assert page.complaints() == []


@pytest.mark.parametrize("place", VIEWS)
def test_a_view_says_nothing_in_the_console_and_can_be_used_by_all(browser, filled, place):
    """In light and dark, and as wide as a phone; what it loads is small."""
    for window in ({}, {"scheme": "dark"}, {"width": 390, "height": 800}):
        page = browser.page(filled.url, **window).open(place)
        assert page.complaints() == []
        assert page.faults() == [], window
        assert page.overflow() <= 0, window
    assert browser.do("return kit.loaded()") < LOADED_BYTES_MAX


def test_topics_are_those_that_the_command_line_lists(browser, filled):
    page = browser.page(filled.url).open("#/topics")
    shown = [[row[1], row[2], row[3].replace(",", "")] for row in page.rows("Topics")]
    assert shown == [it[:3] for it in filled.table("topic", "list")]
    page.fill("Filter topics by name", "light")
    page.sees("1 topic", ".showing")
    assert [row[1] for row in page.rows("Topics")] == ["flights"]
    assert page.evaluate("location.hash") == "#/topics?f=light"
    page.open("#/topics?f=light")  # a filter is an address
    assert [row[1] for row in page.rows("Topics")] == ["flights"]
    page.fill("Filter topics by name", "nothing-like-this")
    page.sees("No topic has nothing-like-this in its name.")
    page.press("Clear the filter")
    page.sees("2 topics", ".showing")
    nothing_else(page)


def test_a_list_is_sorted_by_a_press_on_its_heading(browser, filled):
    page = browser.page(filled.url).open("#/topics")
    page.press("Records")
    page.until("document.querySelector('[aria-sort=descending]')")
    page.settled()
    assert [row[1] for row in page.rows("Topics")] == ["flights", "orders"]
    page.press("Records")
    page.until("document.querySelector('[aria-sort=ascending]')")
    page.settled()
    assert [row[1] for row in page.rows("Topics")] == ["orders", "flights"]


def test_a_pinned_topic_stays_pinned(browser, filled):
    page = browser.page(filled.url).open("#/topics")
    page.press("Pin flights")
    page.sees("Pinned", ".pins")
    page.open("#/topics?f=orders")
    assert page.texts(".pins a") == ["flights"]


def test_the_exchanges_that_a_topic_feeds_are_told_with_how_far_it_is(browser, filled):
    filled.run("topic", "route", "flights", "--to", "exchange:amq.topic", "--key", "f.{key}")
    page = browser.page(filled.url).open("#/topics/flights/routes")
    [row] = page.rows("Exchanges that this topic feeds")
    assert row[:3] == ["amq.topic", "/", "f.{key}"]
    assert row[6].startswith("__route.")
    nothing_else(page)
    filled.run("topic", "unroute", "flights", "--to", "exchange:amq.topic")


def test_a_group_is_as_far_as_the_command_line_says(browser, filled):
    page = browser.page(filled.url).open("#/groups/billing")
    shown = [row[:5] for row in page.rows("Partitions")]
    told = [it[:5] for it in filled.table("group", "describe", "billing")]
    heads = next(n for n, it in enumerate(told) if it[:1] == ["TOPIC"])
    assert shown == told[heads + 1 :]
    assert shown == [["orders", "0", "1", "4", "3"]]
    page.open("#/groups")
    assert [row[1] for row in page.rows("Groups")] == ["billing"]
    nothing_else(page)


def test_settings_say_where_they_come_from(browser, filled):
    filled.run("topic", "alter", "flights", "--config", "retention.ms=86400000")
    page = browser.page(filled.url).open("#/topics/flights/settings?f=retention.ms")
    rows = {row[0]: row[1:3] for row in page.rows("Settings")}
    assert rows["retention.ms"] == ["86400000 1 d", "topic"]
    assert rows["delete.retention.ms"][1] == "default"
    page.press("Change retention.ms")
    page.fill("Value", "172800000")
    page.sees("retention.ms: 86400000 → 172800000")
    page.do("await page.getByRole('button', {name: 'Change', exact: true}).last().click()")
    page.sees("retention.ms of topic flights is 172800000 now.")
    assert "172800000" in filled.run("topic", "describe", "flights")


# Records


def values(page):
    return [row[4] for row in page.rows("Records")]


def test_the_newest_records_are_first(browser, filled):
    page = browser.page(filled.url).open("#/topics/orders")
    page.sees("4 records", ".progress")
    assert [row[1] for row in page.rows("Records")] == ["3", "2", "1", "0"]
    assert values(page)[0] == "two teas"
    assert values(page)[1] == "empty"
    assert page.rows("Records")[0][3] == "k1"


def test_records_are_searched_by_what_they_hold(browser, filled):
    page = browser.page(filled.url).open("#/topics/flights?from=earliest&text=flight+29")
    page.sees("11 records", ".progress")
    found = sorted(values(page))
    assert found == sorted(["flight 29", *(f"flight {it}" for it in range(290, 300))])
    page.fill("Contains", "flight 17")
    page.press("Search")
    page.until("location.hash.includes('flight+17')")
    page.sees("11 records", ".progress")
    page.until("document.querySelector('.records tbody').innerText.includes('flight 175')")
    page.fill("Contains", "no such flight")
    page.press("Search")
    page.sees("No record is like that.")
    nothing_else(page)


def test_a_search_goes_on_behind_what_it_has_shown(browser, filled):
    page = browser.page(filled.url).open("#/topics/flights?from=earliest&n=100")
    for count in ("100", "200", "300"):
        page.sees(f"{count} records", ".progress")
        if count != "300":
            page.press("Continue")
    seen = [(row[0], row[1]) for row in page.rows("Records")]
    assert len(set(seen)) == 300
    page.sees("looked at 300", ".progress")
    page.sees("up to 0:", ".progress")


def test_records_from_an_offset_and_of_a_partition(browser, filled):
    page = browser.page(filled.url).open("#/topics/orders?from=offset&place=2&in=0")
    page.sees("2 records", ".progress")
    assert [row[1] for row in page.rows("Records")] == ["2", "3"]
    page.open("#/topics/orders?from=offset&place=two")
    page.sees("an offset is a whole number, such as 1200")
    page.open("#/topics/orders?from=time&place=2001-01-01")
    page.sees("4 records", ".progress")
    page.open("#/topics/orders?in=7")
    page.sees("partition", ".progress .error")


def test_json_keeps_its_digits_and_order_and_markup_stays_text(browser, filled):
    page = browser.page(filled.url).open("#/topics/orders/records/0/0")
    shown = page.text("pre.value >> nth=-1")
    assert shown.replace("\n", "").replace(" ", "") == LINES[0].replace(" ", "")
    assert "9007199254740993" in shown
    assert "1.10" in shown
    assert page.evaluate("window.hit ?? null") is None
    assert page.texts("table:has(caption:text-is('Headers')) td") == ["trace", "abc"]
    page.press("Hex")
    page.sees("00000000  7b 22 69 64")
    page.press("Text")
    page.sees(LINES[0])
    command = page.text(".command code")
    words = "logstore consume orders --partition 0 --from 0 --max 1 --format json --data"
    assert command == f"{words} {filled.data}"
    told = json.loads(filled.run_elsewhere(*command.split()[1:]))
    assert told["offset"] == 0
    nothing_else(page)


def test_records_are_followed_as_they_come(browser, filled):
    page = browser.page(filled.url).open("#/topics/flights")
    page.press("Follow")
    page.sees("Following the end", ".progress")
    page.sees("Nothing was appended since.")
    filled.run("produce", "flights", fed="a late flight\n")
    page.sees("a late flight", ".records")
    page.press("Pause")
    filled.run("produce", "flights", fed="a later flight\n")
    page.sees("Paused, 1 more came", ".progress")
    assert "a later flight" not in page.text(".records")
    page.press("Go on")
    page.sees("a later flight", ".records")
    nothing_else(page)


def test_records_are_saved_with_whole_values(browser, filled):
    filled.run("topic", "create", "long", "--partitions", 1)
    filled.run("produce", "long", "--key", "=k,1", "--format", "raw", fed="x" * 5000 + "\n")
    page = browser.page(filled.url).open("#/topics/long")
    page.sees("1 record", ".progress")
    saved = """const [it] = await Promise.all([page.waitForEvent('download'),
        page.getByRole('button', {name: given.kind, exact: true}).click()]);
        const parts = []; for await (const part of await it.createReadStream()) parts.push(part);
        return Buffer.concat(parts).toString()"""
    line = json.loads(page.do(saved, kind="JSON"))
    assert line["value"]["text"] == "x" * 5000
    assert line["key"]["text"] == "=k,1"
    heading, row = page.do(saved, kind="CSV").splitlines()
    assert heading == "partition,offset,time,key,value,headers"
    assert row.split(",")[:2] == ["0", "0"]
    assert '"\'=k,1"' in row  # no spreadsheet computes it
    assert "x" * 5000 in row
    nothing_else(page)


# The overview and connections


def test_the_overview_shows_what_flows_and_each_door(browser, filled):
    page = browser.page(filled.url).open("#/overview")
    page.sees("healthy", "#health")
    there = len(filled.table("topic", "list"))
    page.sees(f"{there} topics", ".counts")
    doors = {row[0]: row[1] for row in page.rows("Doors")}
    assert doors["kafka"] == filled.address
    assert doors["http"] == "{}:{}".format(*filled.http)
    assert set(doors) == {"kafka", "redis", "rabbitmq", "http"}
    filled.run("topic", "create", "appears-by-itself")
    page.sees(f"{there + 1} topics", ".counts")  # nobody has touched the page
    assert "disk" in [row[0] for row in page.rows("What is nearly full")]


def test_a_connection_is_shown_and_closed(browser, filled):
    with socket.create_connection(filled.redis) as client:
        client.sendall(b"CLIENT SETNAME <b>me</b>\r\n")
        assert client.recv(100) == b"+OK\r\n"
        page = browser.page(filled.url).open("#/connections?door=resp")
        [row] = page.rows("Connections")
        assert row[0] == "redis"
        assert row[1].endswith(f":{client.getsockname()[1]}")
        assert row[3].startswith("<b>me</b>")
        page.do("await page.getByRole('button', {name: /^Close the connection of/}).click()")
        page.sees("It is cut off at once.", "dialog")
        page.fill("Reason", "tried out")
        page.confirm("Close the connection")
        page.sees("Closed the connection from", "#results")
        assert client.recv(100) == b""
        page.sees("Nobody is connected by this door.")
    nothing_else(page)


def test_a_job_of_upkeep_is_started_and_remembered(browser, filled):
    page = browser.page(filled.url).open("#/server/jobs")
    page.press("Start a job")
    page.choose("Job", "retention")
    page.confirm("Start")
    page.sees("The job retention (dry run) ended", "#results")
    page.settled()
    assert page.rows("Jobs that ended")[0][0] == "retention dry run"
    nothing_else(page)


def test_of_many_topics_a_page_is_shown(browser, tmp_path):
    """However many there are, a browser gets a hundred rows."""
    with logstore.open(tmp_path / "data") as made:
        for number in range(230):
            made.create_topic(f"topic-{number:03}")
    store = Store(tmp_path / "data")
    try:
        page = browser.page(store.url).open("#/topics")
        page.sees("showing 1 to 100 of 230 topics", ".showing")
        assert len(page.rows("Topics")) == 100
        page.press("Next page")
        page.sees("showing 101 to 200 of 230 topics", ".showing")
        assert page.evaluate("location.hash") == "#/topics?p=2"
        page.press("Next page")
        page.sees("showing 201 to 230 of 230 topics", ".showing")
        assert page.rows("Topics")[0][1] == "topic-200"
        assert page.evaluate("document.querySelector('[aria-label=\"Next page\"]').disabled")
        page.fill("Filter topics by name", "topic-1.5")
        page.sees("No topic has topic-1.5 in its name.")
        page.press("The filter is a regular expression")
        page.sees("10 topics", ".showing")
        page.open("#/topics?p=9")  # there was more when somebody made a bookmark of it
        page.sees("showing 201 to 230 of 230 topics", ".showing")
        nothing_else(page)
    finally:
        store.stop()
