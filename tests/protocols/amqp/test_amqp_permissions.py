"""Every method, asked by who has the right, who lacks it, and who is nobody.

The rights are those of the table of methods: one that is added there without a sample here, or
without its rights, fails.
"""

import re

import pytest
from amqp_asks import LACKING, MAKES, QUEUE, RIGHTS, SAMPLES, exactly
from amqp_kit import again, bind, consume, declare, exchange, get, message, unbind
from amqp_users import Users, login_of, opened, refusal

from logstore.access.resources import EXCHANGE, WRITE
from logstore.amqp import frames, methods
from logstore.amqp.properties import Properties
from logstore.kept.users import ANYONE, GLOB, PREFIX, KeptTopicPermission
from logstore.protocols.amqp.asks import ASKS
from logstore.protocols.amqp.handlers import HANDLERS
from logstore.protocols.rabbit_permits import WORDS, Ask

LANGUAGES = ["rules", "permissions"]


class Granting(Users):
    """Grants rights in one of two languages; what is asked for is known from the table."""

    def grant(self, language, asks):
        self.forget_rules()
        self.permit("al")  # so that it may be there
        if language == "rules":
            for ask in asks:
                self.allow("al", ask.operation, ask.kind, ask.name.decode() or "amq.default")
        else:
            self.permit("al", *(exactly(word, asks) for word in ("configure", "write", "read")))


@pytest.fixture(scope="module")
def users():
    return Granting("al")


@pytest.fixture(scope="module")
def shared(node, users):
    made = users.door(node=node)
    yield made
    made.close()


@pytest.fixture
def door(shared, users):
    """Anew for each test: what ``MAKES`` makes is there, and nothing else."""
    root = opened(shared, "root")
    for method in MAKES:
        root.ask(method)
    yield shared
    for peer in shared.peers:
        peer.end()
    vhost = shared.node.queues.vhosts[b"/"]
    for queue in list(vhost.queues()):
        vhost.delete_queue(queue)
    for name in (b"e", b"e2", b"t", b"new"):
        vhost.delete_exchange(name)
    shared.run()
    shared.peers.clear()
    users.forget_rules()


def asked(door, method, **given):
    peer = opened(door, **given)
    peer.send(method)
    door.run()
    return [(it.reply_code, it.reply_text) for it in peer.methods()
            if isinstance(it, (methods.ChannelClose, methods.ConnectionClose))]  # fmt: skip


def test_each_method_has_a_sample_and_its_rights():
    assert {type(method) for method, _ in SAMPLES.values()} == set(HANDLERS) == set(ASKS)


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_asked_for_is_what_the_table_says(door, users, name):
    method, asks = SAMPLES[name]
    users.permit("al", ".*", ".*", ".*")
    channel = opened(door).session.channels[1]
    assert list(ASKS[type(method)](channel, method)) == asks


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("name", "lacking"), LACKING)
def test_who_lacks_one_right_is_told_which(door, users, language, name, lacking):
    """Others' rights, and others of his, are none."""
    method, asks = SAMPLES[name]
    word = WORDS[lacking.operation]
    users.grant(language, [it for it in asks if it != lacking])
    users.allow("root", "all", lacking.kind, ANYONE)
    kept = [it for it in asks if (WORDS[it.operation], it.name) == (word, lacking.name)]
    assert kept == [lacking]
    assert asked(door, method) == [(403, refusal(lacking))]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SAMPLES)
def test_who_has_these_rights_alone_is_not_refused(door, users, language, name):
    method, asks = SAMPLES[name]
    users.grant(language, asks)
    assert all(code != 403 for code, _ in asked(door, method))


@pytest.mark.parametrize("name", RIGHTS)
def test_a_rule_that_denies_wins(door, users, name):
    method, asks = SAMPLES[name]
    users.permit("al", ".*", ".*", ".*")
    for ask in asks:
        users.allow("al", "all", ask.kind, ANYONE, allow=False)
    assert asked(door, method) == [(403, refusal(asks[0]))]


@pytest.mark.parametrize("name", RIGHTS)
def test_an_administrator_needs_none_of_them(door, name):
    assert all(code != 403 for code, _ in asked(door, SAMPLES[name][0], user="root"))


@pytest.mark.parametrize("name", SAMPLES)
def test_nobody_asks_anything(shared, name):
    peer = shared.connect()
    peer.give(frames.PROTOCOL)
    peer.methods()
    peer.send(SAMPLES[name][0])
    assert peer.answer().reply_code == 504
    assert not peer.session.channels


@pytest.mark.parametrize("name", SAMPLES)
def test_one_with_a_wrong_password_asks_nothing(shared, name):
    peer = shared.connect()
    peer.give(frames.PROTOCOL)
    peer.methods()
    start = methods.ConnectionStartOk({}, "PLAIN", login_of("al", b"x"), "en_US")
    peer.give(frames.method_frame(0, start) + frames.method_frame(1, SAMPLES[name][0]))
    shared.now += 1
    peer.look()
    assert (peer.methods(), peer.session.channels) == ([], {})
    assert peer.session.closed == "PLAIN login refused: user 'al'"


# What is looked for is found by whoever may do anything with it


@pytest.mark.parametrize("word", ["configure", "write", "read"])
@pytest.mark.parametrize(
    "method", [declare("q", passive=True), exchange("e", passive=True)], ids=["queue", "exchange"]
)
def test_one_of_three_rights_is_enough_to_look_for_something(door, users, word, method):
    users.permit("al", **{word: "^[qe]$"})
    assert asked(door, method) == []


@pytest.mark.parametrize("operation", ["create", "delete", "alter", "read", "write", "describe"])
def test_any_rule_is_enough_too(door, users, operation):
    users.allow("al", operation, QUEUE, "q")
    assert asked(door, declare("q", passive=True)) == []


@pytest.mark.parametrize("method", [declare("q", passive=True), exchange("e", passive=True)])
def test_a_rule_that_denies_the_look_wins_over_the_right_to_make_it(door, users, method):
    users.permit("al", ".*", ".*", ".*")
    for kind in (EXCHANGE, QUEUE):
        users.allow("al", "create", kind, ANYONE)
        users.allow("al", "describe", kind, ANYONE, allow=False)
    assert [code for code, _ in asked(door, method)] == [403]


@pytest.mark.parametrize("method", [
    declare("no", passive=True), exchange("no", passive=True), get("no"), consume("no"),
    methods.QueuePurge(0, "no", False), bind("no", "e"),
])  # fmt: skip
def test_who_has_no_right_does_not_learn_what_there_is(door, users, method):
    users.permit("al")
    ((code, text),) = asked(door, method)
    assert (code, text.endswith("refused for user 'al'")) == (403, True)


# A queue that the server names


@pytest.mark.parametrize(("configure", "refused"), [
    ("^amq\\.gen", False), ("", True), ("^$", True), ("^q$", True), (".*", False),
])  # fmt: skip
def test_a_queue_without_a_name_is_judged_by_the_name_that_it_gets(door, users, configure, refused):
    users.permit("al", configure)
    found = asked(door, declare("", exclusive=True))
    if refused:
        ((code, text),) = found
        assert (code, text[:47]) == (403, "ACCESS_REFUSED - configure access to queue 'amq")
    else:
        assert found == []


@pytest.mark.parametrize("method", [
    declare("amq.mine"), exchange(""), methods.ExchangeDelete(0, "amq.direct", False, False),
    bind("amq.rabbitmq.reply-to.token0", "e"), exchange("", passive=True),
])  # fmt: skip
def test_what_nobody_may_is_refused_alike_with_and_without_rights(door, users, method):
    users.permit("al", ".*", ".*", ".*")
    with_rights = asked(door, method)
    users.permit("al")
    assert with_rights == asked(door, method)
    assert with_rights[0][0] == 403
    assert "refused for user" not in with_rights[0][1]


# Virtual hosts


def test_a_right_in_one_host_is_none_in_another(tmp_path, users):
    users.forget_rules()
    door = users.door(tmp_path)
    made = door.node.queues.add_vhost(b"v")
    door.node.run(until=lambda: made.done)
    users.permit("al", ".*", ".*", ".*", vhost="v")
    users.permit("al")
    assert asked(door, declare("q")) == [(403, refusal(Ask("create", QUEUE, b"q")))]
    assert asked(door, declare("q"), vhost="v") == []
    users.forget_rules()
    users.permit("al")
    users.permit("al", vhost="v")
    users.allow("al", "create", QUEUE, "v:q")  # a queue of the default host, by its name
    assert asked(door, declare("q"), vhost="v") == [
        (403, refusal(Ask("create", QUEUE, b"q"), vhost="v"))
    ]
    assert asked(door, declare("v:q")) == []
    door.close()


# Publishing


def publish(peer, *bodies, split=False, **given):
    """As one read; ``split``: in several, so that no message is there whole."""
    given.setdefault("exchange", "e")
    data = b"".join(message(body, **given) for body in bodies)
    if split:
        for at in range(0, len(data), 7):
            peer.give(data[at : at + 7])
    else:
        peer.give(data)
    peer.door.run()
    return peer.methods()


WRITE_E = (403, refusal(Ask(WRITE, EXCHANGE, b"e")))


def closed(found):
    return [(it.reply_code, it.reply_text) for it in found]


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("language", LANGUAGES)
def test_publishing_needs_the_right_to_write(door, users, language, split):
    users.grant(language, [])
    assert closed(publish(opened(door), b"x", split=split)) == [WRITE_E]
    users.grant(language, [Ask(WRITE, EXCHANGE, b"e")])
    assert publish(opened(door), b"x", b"y", split=split) == []


@pytest.mark.parametrize("split", [False, True])
def test_the_default_exchange_is_amq_default(door, users, split):
    users.permit("al", write="^q$")
    peer = opened(door)
    assert closed(publish(peer, b"x", exchange="", split=split)) == [
        (403, "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for "
         "user 'al'")
    ]  # fmt: skip
    users.permit("al", write="^amq\\.default$")
    assert publish(opened(door), b"x", exchange="", split=split) == []


def test_who_may_not_write_does_not_learn_what_there_is(door, users):
    users.permit("al")
    for name in ("no", "e"):
        ((code, text),) = closed(publish(opened(door), b"x", exchange=name))
        assert (code, text.endswith("refused for user 'al'")) == (403, True)


def test_what_is_published_before_a_refusal_counts(door, users):
    users.permit("al", write="^e$")
    peer = opened(door)
    peer.ask(methods.ConfirmSelect(False))
    peer.give(
        b"".join(
            message(body, name, "")
            for body, name in [(b"1", "e"), (b"2", "e"), (b"3", "e2"), (b"4", "e")]
        )
    )
    door.run()
    found = peer.methods()
    assert closed(it for it in found if isinstance(it, methods.ChannelClose)) == [
        (403, refusal(Ask(WRITE, EXCHANGE, b"e2")))
    ]
    assert door.node.ready(b"q2") == 2


def test_one_look_is_enough_for_a_run(door, users, monkeypatch):
    users.permit("al", write="^e$")
    peer = opened(door)
    asked_for = []
    may = type(peer.session.permits._rights).may

    def counted(self, *what):
        asked_for.append(what)
        return may(self, *what)

    monkeypatch.setattr(type(peer.session.permits._rights), "may", counted)
    peer.give(b"".join(message(b"x", "e", str(n)) for n in range(100)))
    door.run()
    assert len(asked_for) == 1


# Whose message it is


@pytest.mark.parametrize("split", [False, True])
def test_a_message_is_of_who_has_logged_in(door, users, split):
    users.permit("al", write=".*")
    peer = opened(door)
    assert publish(peer, b"x", props=Properties(user_id="al"), split=split) == []
    assert closed(publish(peer, b"x", props=Properties(user_id="root"), split=split)) == [
        (406, "PRECONDITION_FAILED - user_id property set to 'root' but authenticated user was "
         "'al'")
    ]  # fmt: skip


def test_an_impersonator_says_whose_it_is(door, users):
    users.add("im", "impersonator")
    users.permit("im", write=".*")
    assert publish(opened(door, "im"), b"x", props=Properties(user_id="al")) == []


def test_an_administrator_is_no_impersonator(door):
    ((code, text),) = closed(publish(opened(door, "root"), b"x", props=Properties(user_id="al")))
    assert (code, "authenticated user was 'root'" in text) == (406, True)


# Topic permissions


def keys(users, user="al", write="", read="", at="t", vhost="/"):
    users.access.change(keep=[KeptTopicPermission(user, vhost, at, write, read)])


def refused_key(key, word="write", user="al"):
    return (
        403,
        f"ACCESS_REFUSED - {word} access to topic '{key}' in exchange 't' in vhost '/' refused "
        f"for user '{user}'",
    )


@pytest.mark.parametrize("split", [False, True])
def test_a_topic_permission_is_about_routing_keys(door, users, split):
    users.permit("al", write=".*")
    keys(users, write="^a\\.")
    peer = opened(door)
    assert publish(peer, b"x", exchange="t", key="a.b", split=split) == []
    assert closed(publish(peer, b"x", exchange="t", key="b.a", split=split)) == [refused_key("b.a")]


@pytest.mark.parametrize("header", ["CC", "BCC"])
@pytest.mark.parametrize("split", [False, True])
def test_it_is_about_the_keys_of_copies_too(door, users, split, header):
    users.permit("al", write=".*")
    keys(users, write="^a")
    peer = opened(door)
    for copies, found in ((["a2"], []), (["a2", "b"], [refused_key("b")])):
        props = Properties(headers={header: copies})
        assert closed(publish(peer, b"x", exchange="t", key="a", props=props, split=split)) == found


def test_it_is_about_no_other_exchange_and_no_other_type(door, users):
    users.permit("al", write=".*")
    keys(users, write="^a")
    keys(users, write="^a", at="e")
    peer = opened(door)
    assert publish(peer, b"x", exchange="e", key="b") == []
    assert publish(peer, b"x", exchange="amq.topic", key="b") == []


@pytest.mark.parametrize("method", [
    bind("q", "t", "b.#"), unbind("q", "t", "b.#"),
    methods.ExchangeBind(0, "e", "t", "b.#", False, {}),
    methods.ExchangeUnbind(0, "e", "t", "b.#", False, {}),
])  # fmt: skip
def test_binding_needs_the_right_to_read_the_key(door, users, method):
    users.permit("al", ".*", ".*", ".*")
    keys(users, read="^a\\.", write=".*")
    assert asked(door, method) == [refused_key("b.#", "read")]
    assert asked(door, method._replace(routing_key="a.*")) == []


@pytest.mark.parametrize("name", ["a.*", "]-[", "^", "a|b", "\\", "{vhost}"])
def test_a_user_is_called_what_he_is_called_in_it(door, users, name):
    """As CVE-2026-44838: names went into expressions as they are."""
    users.add(name)
    users.permit(name, write=".*")
    keys(users, name, write="^[{username}]$|^{username}$")
    peer = opened(door, name)
    assert publish(peer, b"x", exchange="t", key=name) == []
    assert closed(publish(peer, b"x", exchange="t", key="abc")) == [refused_key("abc", user=name)]


def test_without_a_row_all_keys_are_allowed_and_an_administrator_needs_none(door, users):
    users.permit("al", write=".*")
    assert publish(opened(door), b"x", exchange="t", key="b") == []
    keys(users, "root", write="^a")
    assert publish(opened(door, "root"), b"x", exchange="t", key="b") == []


def test_a_key_of_an_exchange_that_is_not_there_says_so(door, users):
    users.permit("al", write=".*")
    keys(users, write="^a", at="no")
    ((code, _),) = closed(publish(opened(door), b"x", exchange="no", key="b"))
    assert code == 404


# Replies


def test_a_reply_needs_the_right_to_write_to_the_default_exchange(door, users):
    users.permit("al")
    asks, answers = opened(door), opened(door)
    asks.ask(consume("amq.rabbitmq.reply-to", no_ack=True))
    address = "amq.rabbitmq.reply-to." + asks.session.channels[1].reply_token.decode()
    ((code, _),) = closed(publish(answers, b"x", exchange="", key=address))
    assert (code, asks.methods()) == (403, [])
    users.permit("al", write="^amq\\.default$")
    again(answers)
    assert publish(answers, b"x", exchange="", key=address) == []
    assert [type(it) for it in asks.methods()] == [methods.BasicDeliver]
    forged = address[:-1]
    assert publish(answers, b"x", exchange="", key=forged) == []
    assert asks.methods() == []


# Names that are no text


@pytest.mark.parametrize("name", ["\udcff", "a\tb", "a\0b", "\u202e", "x" * 255, "{}", "%", "'"])
def test_a_name_of_any_bytes_is_judged_and_told(door, users, name):
    for method in (declare(name), methods.QueueDelete(0, name, False, False, False)):
        users.forget_rules()
        users.permit("al", "^a$")
        ((code, text),) = asked(door, method)
        assert (code, text[:44]) == (403, "ACCESS_REFUSED - configure access to queue '")
        users.permit("al", ".")
        assert asked(door, method) == []
        users.permit("al")
        users.allow("al", "create", QUEUE, "", pattern=PREFIX)
        users.allow("al", "delete", QUEUE, "*", pattern=GLOB)
        assert asked(door, method) == []
    users.permit("al", write="^" + re.escape(name) + "$")
    keys(users, write="^" + re.escape(name) + "$", at=name)
    ((code, _),) = closed(publish(opened(door), b"x", exchange=name))
    assert code == 404


@pytest.mark.parametrize(("kind", "of"), [("x-topic", "topic"), ("x-channel", "channel")])
def test_an_exchange_leads_only_where_who_declares_it_may_write(door, users, kind, of):
    users.permit("al", ".*", ".*", ".*")
    ask = Ask(WRITE, of, b"audit")
    method = exchange("new", kind, **{"x-target": "audit"})
    assert asked(door, method) == [(403, refusal(ask))]
    assert asked(door, exchange("new", kind, **{"x-target": 5}))[0][0] == 406
    assert asked(door, exchange("audit", kind)) == [(403, refusal(ask))]
    users.allow("al", WRITE, of, "audit")
    assert asked(door, method) == []
    users.forget_rules()
    users.permit("al", ".*", ".*", ".*")
    assert asked(door, method) == []  # it is there, and the same: nothing new leads there
