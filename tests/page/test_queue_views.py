"""Queues, the picture of where messages go, and channels, in a real browser."""

import contextlib

import pika
import pytest
import redis

pytestmark = pytest.mark.foreign

MARKUP = "<script>window.hit = 1</script>"
VIEWS = [
    "#/queues", "#/queues/%2F/mail", "#/queues/%2F/mail/consumers", "#/queues/%2F/mail/bindings",
    "#/queues/%2F/mail/details", "#/queues/%2F/mail/danger", "#/queues/%2F/mail/messages/0",
"#/queues/%2F/mail/past", "#/queues/%2F/mail/past?only=settled", "#/queues/%2F/mail/past/0",
    "#/routing", "#/routing?x=shop&k=order.paid&focus=exchange:shop", "#/channels",
    "#/channels/pattern/news.*",
]  # fmt: skip


@contextlib.contextmanager
def connected(store):
    connection = pika.BlockingConnection(pika.ConnectionParameters(*store.amqp))
    try:
        yield connection.channel()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def filled(store):
    """A shop: a topic exchange, one bound to it, queues that dead letters and nobody come to."""
    with connected(store) as channel:
        dead = {"x-dead-letter-exchange": "graves"}
        for name, given in {"mail": dead, "all": {}, "graves": {}, "lost": {}}.items():
            channel.queue_declare(name, durable=True, arguments=given)
        channel.exchange_declare("shop", "topic", durable=True)
        channel.exchange_declare("copies", "fanout", durable=True)
        channel.exchange_declare("graves", "fanout", durable=True)
        channel.exchange_bind("copies", "shop", "#")
        channel.queue_bind("all", "copies")
        channel.queue_bind("mail", "shop", "order.paid")
        channel.queue_bind("graves", "graves")
        channel.confirm_delivery()
        for number in range(3):
            channel.basic_publish("shop", "order.paid", b'{"n": %d}' % number)
        channel.basic_publish("", "mail", MARKUP.encode())
    return store


@pytest.mark.parametrize("place", VIEWS)
def test_a_view_says_nothing_in_the_console_and_can_be_used_by_all(browser, filled, place):
    for window in ({}, {"scheme": "dark"}, {"width": 390, "height": 800}):
        page = browser.page(filled.url, **window).open(place)
        assert page.complaints() == []
        assert page.faults() == [], window
        assert page.overflow() <= 0, window


def counts(page):
    return {row[1]: row[2:5] for row in page.rows("Queues")}


def test_queues_are_those_that_the_command_line_lists(browser, filled):
    page = browser.page(filled.url).open("#/queues")
    assert counts(page) == {
        "all": ["3", "0", "0"], "graves": ["0", "0", "0"], "lost": ["0", "0", "0"],
        "mail": ["4", "0", "0"],
    }  # fmt: skip
    listed = {row[0]: row[1] for row in filled.table("queue", "list")}
    assert set(listed) == set(counts(page))


def test_the_past_of_a_queue_is_shown_and_replayed(browser, filled):
    with connected(filled) as channel:
        channel.queue_declare("past", durable=True)
        channel.queue_declare("again", durable=True)
        channel.confirm_delivery()
        for number in range(3):
            channel.basic_publish("", "past", b"m%d" % number)
        for _ in range(2):
            channel.basic_ack(channel.basic_get("past")[0].delivery_tag)
    page = browser.page(filled.url).open("#/queues/%2F/past/past")
    rows = page.rows("Messages")
    assert [(row[0], row[1], row[6]) for row in rows] == [
        ("0", "settled", "m0"), ("1", "settled", "m1"), ("2", "ready", "m2"),
    ]  # fmt: skip
    page.open("#/queues/%2F/past/past?only=settled")
    assert [row[6] for row in page.rows("Messages")] == ["m0", "m1"]
    page.press("Replay …")
    page.choose("Into", "queue")
    page.fill("Name", "again")
    page.confirm("Replay")
    page.sees("Replayed 2 messages of queue past")
    assert filled.run("queue", "consume", "again") == "m0\nm1\n"
    page.follow("0")
    page.sees("m0", "pre.value")
    for name in ("past", "again"):
        filled.run("queue", "delete", name, "--yes")
    assert page.complaints() == []


def test_a_stream_says_which_topic_it_is(browser, filled):
    with connected(filled) as channel:
        channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "stream"})
        channel.confirm_delivery()
        channel.basic_publish("", "kept", b"one")
    page = browser.page(filled.url).open("#/queues")
    assert counts(page)["kept"] == ["1", "0", "0"]
    page.sees("stream")
    for place in ("", "/past"):
        page.open(f"#/queues/%2F/kept{place}").sees("its messages are the records of topic kept")
    page.open("#/topics/kept")
    assert page.complaints() == []
    filled.run("queue", "delete", "kept", "--yes")


def test_looking_at_messages_takes_none(browser, filled):
    page = browser.page(filled.url).open("#/queues/%2F/mail")
    rows = page.rows("Messages")
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    assert [row[1] for row in rows] == ["ready"] * 4
    assert [row[6] for row in rows] == ['{"n": 0}', '{"n": 1}', '{"n": 2}', MARKUP]
    page.follow("3")
    page.sees(MARKUP, "pre.value")
    assert page.evaluate("window.hit ?? null") is None
    assert counts(page.open("#/queues"))["mail"] == ["4", "0", "0"]
    assert page.complaints() == []


def test_a_queue_is_declared_filled_moved_purged_and_deleted(browser, filled):
    page = browser.page(filled.url).open("#/queues")
    page.press("Declare a queue")
    page.fill("Name", "new")
    page.fill("Messages expire after (ms)", "600000")
    page.sees("logstore queue declare new --argument x-message-ttl=600000", "dialog")
    page.confirm("Declare")
    page.sees("Declared queue new.")
    for body in ("one", "two"):
        page.press("Publish a message")
        page.fill("Body", body)
        page.confirm("Publish")
        page.sees("Published a message.")
    page.open("#/queues/%2F/new/danger")
    page.press("Move")
    page.fill("Routing key", "graves")
    page.fill("Messages at most", "1")
    page.sees("1 message would be moved.", "dialog")
    page.confirm("Move")
    page.sees("Moved 1 message of queue new.")
    assert counts(page.open("#/queues"))["graves"] == ["1", "0", "0"]
    page.open("#/queues/%2F/new/danger")
    page.press("Purge")
    page.sees("1 message would be deleted for good.", "dialog")
    page.do("await page.locator('#typed').fill('new')")
    page.confirm("Purge queue new")
    page.sees("Deleted 1 message of queue new.")
    page.press("Delete queue")
    page.sees("0 messages would be deleted, and 0 bindings.", "dialog")
    page.confirm("Delete queue new")
    page.sees("Deleted queue new.")
    assert "new" not in counts(page.open("#/queues"))
    filled.run("queue", "purge", "graves", "--yes")
    assert page.complaints() == []


def test_fetching_says_that_it_changes_something(browser, filled):
    page = browser.page(filled.url).open("#/queues/%2F/all")
    page.press("Fetch")
    page.sees("unlike looking, this changes what is in the queue", "dialog")
    page.choose("Afterwards they", "requeue")
    page.confirm("Fetch")
    page.sees("Fetched 1 message, which are put back")
    page.sees("given out before", ".part")
    assert counts(page.open("#/queues"))["all"] == ["3", "0", "0"]


def drawn(page, which=""):
    """The names in the picture."""
    page.until("document.querySelector('.graph')")
    return sorted(page.evaluate(
        f"[...document.querySelectorAll('.graph .node{which} .title')].map((it) => it.textContent)"
    ))  # fmt: skip


def test_the_picture_shows_where_a_message_would_go(browser, filled):
    page = browser.page(filled.url).open("#/routing")
    assert drawn(page) == ["all", "copies", "graves", "graves", "lost", "mail", "shop"]
    page.fill("Exchange", "shop")
    page.fill("Routing key", "order.paid")
    page.press("Try")
    page.sees("It would go to", ".outcome")
    assert sorted(page.texts(".outcome a")) == ["all", "mail"]
    assert drawn(page, ".lit") == ["all", "copies", "mail", "shop"]
    page.fill("Routing key", "order.new")
    page.press("Try")
    page.until("document.querySelectorAll('.graph .node.lit').length === 3")
    assert page.texts(".outcome a") == ["all"]
    page.fill("Exchange", "copies-of-nothing")
    page.press("Try")
    page.sees("no exchange 'copies-of-nothing'", ".outcome")


def test_what_belongs_to_one_exchange_is_followed_by_keys(browser, filled):
    page = browser.page(filled.url).open("#/routing")
    page.do("await page.locator('.graph .node', {hasText: 'copies'}).focus()")
    page.key("Enter")
    page.sees("Exchange copies", ".about")
    assert page.evaluate("location.hash") == "#/routing?focus=exchange%3Acopies"
    page.until("document.querySelectorAll('.graph .node').length === 3")
    assert drawn(page) == ["all", "copies", "shop"]
    page.press("Show all")
    page.until("document.querySelectorAll('.graph .node').length === 7")


def test_an_exchange_is_declared_bound_and_deleted(browser, filled):
    page = browser.page(filled.url).open("#/routing")
    page.press("Declare an exchange")
    page.fill("Name", "rare")
    page.choose("Type", "direct")
    page.confirm("Declare")
    page.sees("Declared exchange rare.")
    page.open("#/routing?focus=exchange:rare")
    page.press("Bind")
    page.fill("Its name", "lost")
    page.do("await page.locator('dialog').getByLabel('Routing key').fill('k')")
    page.confirm("Bind")
    page.sees("Bound queue lost to exchange rare.")
    page.press("Remove")
    page.confirm("Unbind queue lost")
    page.sees("Unbound queue lost from exchange rare.")
    page.press("Delete")
    page.sees("0 bindings from it", "dialog")
    page.confirm("Delete exchange rare")
    page.sees("Deleted exchange rare.")
    assert "rare" not in filled.run("exchange", "list")
    assert page.complaints() == []


def test_a_channel_is_listened_to_and_published_to(browser, filled):
    page = browser.page(filled.url).open("#/channels")
    page.fill("Channel or pattern", "news.*")
    page.press("Listen")
    page.sees("Nothing has come yet.")
    with redis.Redis(*filled.redis) as client:
        while not client.publish("news.a", MARKUP):  # the page listens in its own time
            pass
        page.sees(MARKUP, ".tail")
        assert page.evaluate("window.hit ?? null") is None
        page.press("Pause")
        client.publish("news.b", "while paused")
        page.sees("paused, 1 since", "[role=status]")
        page.press("Go on")
        client.publish("news.c", "afterwards")
        page.sees("afterwards", ".tail")
        assert "while paused" not in page.text(".tail")
        with client.pubsub() as listener:
            listener.subscribe("news.d")
            listener.get_message(timeout=10)
            rows = page.open("#/channels").rows("Channels and patterns")
            assert [row[1:5] for row in rows] == [["news.d", "channel", "1", "0"]]
            page.follow("news.d")
            page.press("Publish a message")
            page.fill("Message", "from the page")
            page.confirm("Publish")
            page.sees("got it.")
            assert listener.get_message(timeout=10)["data"] == b"from the page"
    assert page.complaints() == []


def test_the_picture_says_in_words_what_is_odd(browser, filled):
    with connected(filled) as channel:
        channel.exchange_declare("idle", "topic", durable=True)
        own = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "round"}
        channel.queue_declare("round", durable=True, arguments=own)
    page = browser.page(filled.url).open("#/routing?focus=exchange:idle")
    page.sees("nothing is bound to it", ".panel")
    page.open("#/routing?focus=queue:round")
    page.sees("its dead letters may come back to it", ".panel")


def test_a_queue_says_of_which_virtual_host_it_is(browser, filled):
    filled.run("vhost", "add", "a/b")
    filled.run("queue", "declare", "mail", "--vhost", "a/b")
    page = browser.page(filled.url).open("#/queues/a%2Fb/mail")
    assert "a/b" in page.text(".crumbs")
    page.follow("a/b")
    page.arrived("#/queues?v=a%2Fb")
    assert list(counts(page)) == ["mail in a/b"]
    page.open("#/queues/%2F/mail")
    assert "a/b" not in page.text(".crumbs")


def test_what_cannot_be_listened_to_here_is_no_link(browser, filled):
    with redis.Redis(*filled.redis) as client, client.pubsub() as heard:
        heard.subscribe("", "plain")
        heard.ssubscribe("apart")
        page = browser.page(filled.url).open("#/channels")
        page.sees("apart", "tbody")
        assert page.texts("tbody td a") == ["plain"]
        page.sees("no name", "tbody")
