"""What is changed by the page: asked about, shown beforehand, said afterwards."""

import pytest

pytestmark = pytest.mark.foreign


@pytest.fixture
def page(browser, store):
    page = browser.page(store.url).open("#/topics")
    yield page
    assert page.complaints() == []


def test_a_topic_is_created_by_the_keyboard_alone(page, store):
    page.do("await page.getByRole('button', {name: 'Create a topic'}).focus()")
    page.key("Enter")
    page.sees("Create a topic", "dialog h2")
    page.do("await page.keyboard.type('made-here')")
    page.key("Tab", "Control+a", "3")
    page.sees("logstore topic create made-here --partitions 3", "dialog")
    page.key("Enter")
    page.sees("Created topic made-here with 3 partitions.", "#results")
    page.arrived("#/topics/made-here")
    assert ["made-here", "3"] in [it[:2] for it in store.table("topic", "list")]


def test_a_refusal_stands_in_the_form(page, store):
    store.run("topic", "create", "there-already")
    page.press("Create a topic")
    page.fill("Name", "there-already")
    page.confirm("Create")
    page.sees("already exists", "dialog .error")
    page.key("Escape")
    page.until("!document.querySelector('dialog')")
    page.until("document.activeElement.innerText === 'Create a topic'")
    page.complaints()  # a browser tells of each answer that is no success


def test_a_record_is_appended_and_again(page, store):
    store.run("topic", "create", "copied", "--partitions", 2)
    page.open("#/topics/copied")
    page.press("Append a record")
    page.fill("Key", "k")
    page.fill("Value", "ein Käse\n")
    page.fill("Headers", "a=b=c\nd")
    page.confirm("Append")
    page.sees("Appended a record to topic copied: partition", "#results")
    page.open("#/topics/copied")
    page.sees("1 record", ".progress")
    page.do("await page.locator('.records tbody a').first().click()")
    page.sees("2 headers")
    page.press("Append it again")
    page.confirm("Append")
    page.until("!document.querySelector('dialog')")
    told = store.run("consume", "copied", "--format", "{key}|{value}|{headers}").splitlines()
    assert len(told) == 4  # two records of two lines
    assert told[0] == told[2]


def test_what_trimming_would_do_is_shown_before_it_is_done(page, store):
    store.run("topic", "create", "trimmed")
    store.run("produce", "trimmed", fed="1\n2\n3\n")
    page.open("#/topics/trimmed/danger")
    page.press("Trim …")
    page.fill("First place that is kept", "2")
    page.sees("2 records would be deleted for good", "dialog")
    assert store.run("consume", "trimmed").split() == ["1", "2", "3"]
    page.fill("First place that is kept", "soon")
    page.sees("a time is as in", "dialog .error")
    assert page.evaluate("document.querySelector('dialog [type=submit]').disabled")
    page.fill("First place that is kept", "1")
    page.sees("1 record would be deleted for good", "dialog")
    page.confirm("Trim for good")
    page.sees("Trimmed 1 record off topic trimmed.", "#results")
    assert store.run("consume", "trimmed").split() == ["2", "3"]


def test_a_topic_with_records_is_deleted_only_by_its_name(page, store):
    store.run("topic", "create", "doomed", "--partitions", 2)
    store.run("produce", "doomed", fed="1\n2\n3\n")
    page.open("#/topics/doomed/danger")
    page.press("Delete topic …")
    page.sees("3 records in 2 partitions", "dialog")
    button = "document.querySelector('dialog [type=submit]')"
    assert page.evaluate(f"{button}.innerText") == "Delete topic doomed"
    assert page.evaluate(f"{button}.disabled")
    page.do("await page.getByLabel(/Type .* to go on/).fill('doome')")
    assert page.evaluate(f"{button}.disabled")
    page.do("await page.getByLabel(/Type .* to go on/).fill('doomed')")
    page.confirm("Delete topic doomed")
    page.sees("Deleted topic doomed with 3 records.", "#results")
    page.settled()
    assert "doomed" not in store.run("topic", "list")
    assert "doomed" not in [row[1] for row in page.rows("Topics")]


def test_a_group_is_moved_after_it_was_shown_where_to(page, store):
    store.run("topic", "create", "read")
    store.run("produce", "read", fed="1\n2\n3\n")
    store.run("consume", "read", "--group", "mover")
    page.open("#/groups/mover")
    page.press("Reset offsets …")
    page.sees("again 3", "dialog")
    page.choose("To", "shift")
    page.fill("Offset, time or number", "-1")
    page.sees("again 1", "dialog")
    assert "COMMITTED" in store.run("group", "describe", "mover")
    page.confirm("Reset offsets")
    page.sees("Moved group mover in 1 partition.", "#results")
    assert store.run("consume", "read", "--group", "mover").split() == ["3"]
    page.open("#/groups/mover")
    page.press("Set the offset of read 0")
    page.sees("stays", "dialog")
    page.fill("Offset, time or number", "0")
    page.sees("again 3", "dialog")
    page.key("Escape")
    page.press("Delete group …")
    page.sees("It forgets what it has committed in 1 partition", "dialog")
    page.confirm("Delete group mover")
    page.sees("Deleted group mover", "#results")
    assert "mover" not in store.run("group", "list")


def test_partitions_are_added(page, store):
    store.run("topic", "create", "grown", "--partitions", 2)
    page.open("#/topics/grown/danger")
    page.press("Add partitions …")
    page.fill("Partitions in all", "5")
    page.confirm("Add partitions")
    page.sees("Topic grown has 5 partitions now.", "#results")
    page.open("#/topics/grown/partitions")
    assert [row[0] for row in page.rows("Partitions")] == ["0", "1", "2", "3", "4"]


def test_keys_go_to_views_to_the_filter_and_through_rows(page, store):
    store.run("topic", "create", "by-keys-1")
    store.run("topic", "create", "by-keys-2")
    page.key("g", "g")
    page.arrived("#/groups")
    page.key("g", "t")
    page.arrived("#/topics")
    page.key("/")
    page.do("await page.keyboard.type('by-keys')")
    page.arrived("#/topics?f=by-keys")
    page.key("Escape", "j", "j", "Enter")
    page.arrived("#/topics/by-keys-2")
    page.key("?")
    page.sees("to the filter", "dialog")
    page.key("Escape")
    page.until("!document.querySelector('dialog')")


def test_nothing_is_done_that_was_not_shown(page, store):
    """Who types on and presses Enter at once waits for what that would do."""
    store.run("topic", "create", "hasty")
    store.run("produce", "hasty", fed="1\n2\n3\n")
    page.open("#/topics/hasty/danger")
    page.press("Trim …")
    page.fill("First place that is kept", "1")
    page.sees("1 record would be deleted for good", "dialog")
    page.do("""await page.route('**/trim', async (route) => {
        await new Promise((go) => setTimeout(go, 300));
        await route.continue();
    })""")
    page.fill("First place that is kept", "3")
    page.key("Enter")
    assert page.evaluate("document.querySelector('dialog [type=submit]').disabled")
    page.sees("3 records would be deleted for good", "dialog")
    assert store.run("consume", "hasty").split() == ["1", "2", "3"]
    page.key("Escape")
