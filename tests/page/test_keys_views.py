"""Redis's keys on the page."""

import pytest
from redis_parts import Raw, request

pytestmark = pytest.mark.foreign

VIEWS = ["#/keys", "#/keys/0", "#/keys/0/h", "#/keys/0/text", "#/keys/7", "#/keys/0/none"]
NAME = "<b>me</b>/ü"


@pytest.fixture(scope="module")
def filled(store):
    raw = Raw(store)
    raw.send(
        request("SET", "text", '{"n": 1.10}', "EX", "5000") + request("HSET", "h", "f", "<i>v</i>")
        + request("SET", NAME, b"\xff\xfe") + request("ZADD", "z", "1.5", "m")
        + b"".join(request("SET", f"many:{it}", "x" * 2000) for it in range(150))
        + request("SET", "end", "x") + request("ECHO", "all of it")
    )  # fmt: skip
    raw.until(b"all of it")
    return store


@pytest.mark.parametrize("place", VIEWS)
def test_a_view_says_nothing_in_the_console_and_can_be_used_by_all(browser, filled, place):
    for window in ({}, {"scheme": "dark"}, {"width": 390, "height": 800}):
        page = browser.page(filled.url, **window).open(place)
        assert place == "#/keys/0/none" or page.complaints() == []
        assert page.faults() == [], window
        assert page.overflow() <= 0, window


def test_databases_lead_to_keys_and_these_to_values(browser, filled):
    page = browser.page(filled.url).open("#/keys")
    [row] = page.rows("Databases")
    assert row[:4] == ["0", "__keys.0", "155", "1"]
    page.do("await page.getByRole('link', {name: '0', exact: true}).click()")
    page.sees("100 keys found among 100 of 155", "main")
    page.press("Continue")
    page.sees("155 keys found among 155 of 155", "main")
    found = {it[0]: it for it in page.rows("Keys")}
    assert found[NAME][1:5] == ["string", "never", "\u2013", "2 B"]
    assert found["h"][3:] == ["1", found["h"][4], "f: <i>v</i>"]
    assert found["text"][2].startswith("in 1 h")
    page.do("await page.getByRole('link', {name: given.name, exact: true}).click()", name=NAME)
    page.sees("ff fe", "main")
    page.open("#/keys/0/h")
    assert page.rows("Elements") == [["f", "<i>v</i>"]]
    page.open("#/keys/0/text")
    page.sees('"n": 1.10', "main")
    page.open("#/keys/0/many:1")
    page.sees("The beginning of it.", "main")
    page.sees("logstore keys get many:1", "main")


def test_keys_are_found_by_pattern_and_type(browser, filled):
    page = browser.page(filled.url).open("#/keys/0?pattern=many:1%3F")
    page.sees("10 keys found among 155 of 155", "main")
    page.do("await page.getByLabel('Type').selectOption('zset')")
    page.sees("0 keys found", "main")
    page.sees("No key is like that.", "main")
    page.do("await page.getByLabel('Pattern of keys').fill('')")
    page.press("Look")
    page.sees("1 key found among 155 of 155", "main")
    assert [it[0] for it in page.rows("Keys")] == ["z"]
    assert page.faults() == []
