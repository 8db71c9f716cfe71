import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.stomp.beats import Beats, agreed
from logstore.stomp.destinations import Destination, Kind, formatted, parse
from logstore.stomp.faults import BadDestination, StompFault

# As RabbitMQ reads them.
GOOD = [
    ("/queue/a", Kind.QUEUE, b"a", None, (b"", b"a")),
    ("a", Kind.QUEUE, b"a", None, (b"", b"a")),
    ("/queue/a%2Fb", Kind.QUEUE, b"a/b", None, (b"", b"a/b")),
    ("/queue/a%2fb%25", Kind.QUEUE, b"a%2fb%25", None, (b"", b"a%2fb%25")),
    ("/queue/\u00e9", Kind.QUEUE, b"\xc3\xa9", None, (b"", b"\xc3\xa9")),
    ("/amq/queue/a", Kind.AMQ_QUEUE, b"a", None, (b"", b"a")),
    ("/exchange/e", Kind.EXCHANGE, b"e", None, (b"e", b"")),
    ("/exchange/e/", Kind.EXCHANGE, b"e", b"", (b"e", b"")),
    ("/exchange/e/k.*", Kind.EXCHANGE, b"e", b"k.*", (b"e", b"k.*")),
    ("/exchange/a%2Fb/c%2Fd", Kind.EXCHANGE, b"a/b", b"c/d", (b"a/b", b"c/d")),
    ("/topic/a.#", Kind.TOPIC, b"a.#", None, (b"amq.topic", b"a.#")),
    ("/temp-queue/a", Kind.TEMP_QUEUE, b"a", None, (b"", b"a")),
    ("/reply-queue/a/b", Kind.REPLY_QUEUE, b"a/b", None, (b"", b"a/b")),
]


@pytest.mark.parametrize(("given", "kind", "name", "key", "routing"), GOOD)
def test_destinations_are_read_as_rabbitmq_does(given, kind, name, key, routing):
    found = parse(given)
    assert found == Destination(kind, name, key)
    assert found.routing == routing


@pytest.mark.parametrize(
    ("given", "message", "detail"),
    [
        ("/queue", "Invalid destination", "'' is not a valid queue destination\n"),
        ("/queue/", "Invalid destination", "'/' is not a valid queue destination\n"),
        ("/queue/a/b", "Invalid destination", "'/a/b' is not a valid queue destination\n"),
        ("/topic/", "Invalid destination", "'/' is not a valid topic destination\n"),
        ("/amq/queue", "Invalid destination", "'' is not a valid amqqueue destination\n"),
        ("/exchange/", "Invalid destination", "'/' is not a valid exchange destination\n"),
        ("/exchange//k", "Invalid destination", "'//k' is not a valid exchange destination\n"),
        ("/exchange/a/b/c", "Invalid destination", "'/a/b/c' is not a valid exchange"),
        ("/temp-queue", "Invalid destination", "'' is not a valid temp_queue destination\n"),
        ("/reply-queue/", "Invalid destination", "'/' is not a valid reply_queue destination\n"),
        ("/reply-queue", "Unknown destination", "'/reply-queue' is not a valid destination.\n"),
        ("/nonsense/a", "Unknown destination", "Valid destination types are: /temp-queue,"),
        ("/amq/topic", "Unknown destination", "'/amq/topic' is not a valid destination.\n"),
        ("a/b", "Unknown destination", "'a/b' is not a valid destination.\n"),
        ("/", "Unknown destination", "'/' is not a valid destination.\n"),
    ],
)
def test_what_is_no_destination_is_refused_in_rabbitmqs_words(given, message, detail):
    with pytest.raises(BadDestination) as refused:
        parse(given)
    assert refused.value.message == message
    assert detail in refused.value.detail
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("exchange", "key", "shown"),
    [
        (b"", b"a", "/queue/a"),
        (b"", b"a/b%c", "/queue/a%2Fb%25c"),
        (b"", b"\x00\x1f\x7f\xc3\xa9", "/queue/%00%1F\x7f%C3%A9"),
        (b"amq.topic", b"a.b", "/topic/a.b"),
        (b"e", b"", "/exchange/e"),
        (b"e/f", b"k", "/exchange/e%2Ff/k"),
    ],
)
def test_where_a_message_was_sent_is_shown_as_rabbitmq_does(exchange, key, shown):
    assert formatted(exchange, key) == shown


@given(st.binary(min_size=1, max_size=30))
def test_whatever_it_is_named_a_line_shows_where_it_was_sent(name):
    shown = formatted(name, name)
    assert shown.isascii()
    assert shown.isprintable() or "\x7f" in shown


@given(st.text(st.sampled_from("abc./%2F-*# "), min_size=1, max_size=12))
def test_what_is_shown_leads_back_where_nothing_needs_more_escapes(key):
    name = key.replace("%", "").encode()
    if name:
        assert parse(formatted(b"", name)).routing == (b"", name)
        assert parse(formatted(b"e", name)).routing == (b"e", name)


@pytest.mark.parametrize(
    ("given", "beats"),
    [
        (None, (0, 0)), ("0,0", (0, 0)), ("1000,2000", (2, 1)), ("1,0", (0, 1)),
        ("0, 10000", (10, 0)), ("2500,2500", (2.5, 2.5)), ("500,500", (1, 1)),
    ],
)  # fmt: skip
def test_both_keep_to_the_slower_of_what_one_can_and_the_other_wants(given, beats):
    assert agreed(given) == Beats(*beats)


@pytest.mark.parametrize("given", ["", "1000", "a,b", "-1,0", "1,2,3", "9" * 30 + ",0", "1.5,1"])
def test_what_are_no_beats_is_refused(given):
    with pytest.raises(StompFault, match="heart-beat takes two numbers"):
        agreed(given)


def test_connected_says_what_is_agreed():
    assert agreed("1500,20000").header == "20000,1500"
