"""What one user may do in a virtual host, whichever of the APIs he asks through."""

import pytest
from amqp_users import Users
from heard_audit import Heard
from queue_parts import Consumer, Lives, props

from logstore.access.audit import EXCHANGE as EXCHANGE_EVENT
from logstore.access.audit import QUEUE as QUEUE_EVENT
from logstore.access.identity import OWNER, Identity
from logstore.access.rights import Rights
from logstore.broker.queues import acts
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.refusals import ConsumersThere, Locked, NotEmpty
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.refusals import NoExchange, NoQueue, NotPermitted
from logstore.errors import Forbidden, Refused
from logstore.kept.users import KeptTopicPermission
from logstore.protocols.http.within import Within

ALTERNATE = arguments_of({"alternate-exchange": "other"})
DEAD = arguments_of({"x-dead-letter-exchange": "other"})


class Asked:
    """A node, users, and what they are told."""

    def __init__(self, node):
        self.node = node
        self.users = Users("al")
        self.audit = Heard()

    def within(self, user="al", tags=()):
        who = OWNER if user is None else Identity(user, "::1", "PLAIN", "http")
        return Within(self.node.vhost, Rights(self.users.access, who), self.audit, tags)

    def told(self, call):
        """What ``then`` is told."""
        found = []
        call(found.append)
        self.node.run(until=lambda: found)
        [it] = found
        return it


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    lives = Lives(tmp_path_factory.mktemp("node"))
    yield lives.open()
    lives.end()


@pytest.fixture
def asked(node):
    yield Asked(node)
    node.empty()


# Each act, and what it needs: the operation, the kind of object and its name, all of them.
ACTS = {
    "declare an exchange": (
        lambda it, then: it.declare_exchange(ExchangeFacts(b"new", "direct"), then),
        ["create exchange new"],
    ),
    "declare one with an alternate": (
        lambda it, then: it.declare_exchange(
            ExchangeFacts(b"new", "direct", arguments=ALTERNATE), then
        ),
        ["create exchange new", "read exchange new", "write exchange other"],
    ),
    "delete an exchange": (
        lambda it, then: it.delete_exchange(b"x", then), ["delete exchange x"],
    ),
    "declare a queue": (
        lambda it, then: it.declare_queue(QueueFacts(b"new", True), then), ["create queue new"],
    ),
    "declare one with dead letters": (
        lambda it, then: it.declare_queue(QueueFacts(b"new", True, arguments=DEAD), then),
        ["create queue new", "read queue new", "write exchange other"],
    ),
    "delete a queue": (lambda it, then: it.delete_queue(b"q", then), ["delete queue q"]),
    "purge": (lambda it, then: it.purge(b"q", then), ["read queue q"]),
    "fetch": (lambda it, then: it.fetch(b"q", 1, then), ["read queue q"]),
    "bind a queue": (
        lambda it, then: it.bind(Binding(b"x", b"q"), then), ["write queue q", "read exchange x"],
    ),
    "unbind a queue": (
        lambda it, then: it.unbind(Binding(b"x", b"q"), then), ["write queue q", "read exchange x"],
    ),
    "bind an exchange": (
        lambda it, then: it.bind(Binding(b"x", b"amq.fanout", kind="exchange"), then),
        ["write exchange amq.fanout", "read exchange x"],
    ),
    "publish": (
        lambda it, then: it.publish(Message(b"x", b"", props(), b"1"), then), ["write exchange x"],
    ),
    "publish to a queue": (
        lambda it, then: it.publish(Message(b"", b"q", props(), b"1"), then),
        ["write exchange amq.default"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("act", ACTS)
def test_an_act_needs_all_its_rights_and_no_more(asked, act):
    asked.node.exchange(b"x")
    asked.node.declare(b"q")
    do, needs = ACTS[act]
    for missing in needs:
        asked.users.forget_rules()
        for it in needs:
            if it != missing:
                asked.users.allow("al", *it.split())
        with pytest.raises(Forbidden, match="al may not "):
            do(asked.within(), lambda _: None)
    for it in needs:
        asked.users.allow("al", *it.split())
    found = asked.told(lambda then: do(asked.within(), then))
    assert not isinstance(found, Exception)


def test_a_routing_key_needs_the_permission_of_its_topic_exchange(asked):
    asked.node.exchange(b"t", "topic")
    asked.node.declare(b"q")
    asked.users.permit("al", ".*", ".*", ".*")
    asked.users.access.change(keep=[KeptTopicPermission("al", "/", "t", "^a", "^b")])
    within = asked.within()
    asked.told(lambda then: within.publish(Message(b"t", b"a.1", props(), b""), then))
    asked.told(lambda then: within.bind(Binding(b"t", b"q", b"b.#"), then))
    with pytest.raises(Forbidden):
        within.publish(Message(b"t", b"b.1", props(), b""), lambda _: None)
    copied = props({"CC": ["b.1"]})
    with pytest.raises(Forbidden):
        within.publish(Message(b"t", b"a.1", copied, b""), lambda _: None)
    with pytest.raises(Forbidden):
        within.bind(Binding(b"t", b"q", b"a.#"), lambda _: None)


def test_a_message_is_of_whoever_has_logged_in(asked):
    asked.users.permit("al", "", ".*", "")
    message = Message(b"", b"q", props(user_id="bo"), b"")
    with pytest.raises(Refused, match="'bo' is not the user"):
        asked.within().publish(message, lambda _: None)
    for within in (asked.within(tags=("impersonator",)), asked.within(None)):
        asked.told(lambda then, within=within: within.publish(message, then))
    mine = message._replace(properties=props(user_id="al"))
    asked.told(lambda then: asked.within().publish(mine, then))
    replying = message._replace(properties=props(reply_to="amq.rabbitmq.reply-to"))
    with pytest.raises(Refused, match="no reply would reach"):
        asked.within().publish(replying, lambda _: None)


def test_whoever_may_not_see_a_queue_is_not_told_whether_it_is_there(asked):
    asked.node.declare(b"q7")
    said = set()
    for name in (b"q7", b"nobodys"):
        with pytest.raises(Forbidden) as caught:
            asked.within().queue(name)
        said.add(str(caught.value).replace(name.decode(), ""))
    assert len(said) == 1
    asked.users.permit("al", "", "", "")
    with pytest.raises(Forbidden):
        asked.within().purge(b"nobodys", lambda _: None)


def test_lists_have_what_one_may_see_and_all_for_who_monitors(asked):
    asked.node.declare(b"a")
    asked.node.declare(b"b")
    asked.users.permit("al", "^a$", "", "")
    names = lambda within: sorted(  # noqa: E731
        it.facts.name for it in asked.node.vhost.queues() if within.sees_queue(it)
    )
    assert names(asked.within()) == [b"a"]
    assert not any(map(asked.within().sees_exchange, asked.node.vhost.topology.exchanges()))
    monitor = asked.within(tags=("monitoring",))
    assert names(monitor) == names(asked.within(None)) == [b"a", b"b"]
    assert monitor.queue(b"b").facts.name == b"b"
    with pytest.raises(Forbidden):
        monitor.queue(b"b", "read")
    assert monitor.sees(Binding(b"", b"b"))
    assert not asked.within().sees(Binding(b"", b"a"))


def test_what_is_removed_is_audited(asked):
    asked.node.exchange(b"x")
    asked.node.declare(b"q")
    asked.node.publish(b"q", b"1", b"2")
    owner = asked.within(None)
    assert asked.told(lambda then: owner.purge(b"q", then)) == (2,)
    asked.node.publish(b"q", b"3")
    assert asked.told(lambda then: owner.delete_queue(b"q", then)) == (1,)
    assert asked.told(lambda then: owner.delete_exchange(b"x", then)) == 0
    assert [(event, what) for event, _, what, _ in asked.audit] == [
        (QUEUE_EVENT, "purged q"), (QUEUE_EVENT, "deleted q"), (EXCHANGE_EVENT, "deleted x"),
    ]  # fmt: skip


def test_what_is_not_there_or_in_use_is_not_removed(asked):
    queue = asked.node.declare(b"q")
    owner = asked.within(None)
    asked.node.publish(b"q", b"1")
    queue.subscribe(Consumer())
    asked.node.run()
    assert isinstance(
        asked.told(lambda then: owner.delete_queue(b"q", then, if_unused=True)), ConsumersThere
    )
    asked.node.declare(b"full")
    asked.node.publish(b"full", b"1")
    assert isinstance(
        asked.told(lambda then: owner.delete_queue(b"full", then, if_empty=True)), NotEmpty
    )
    with pytest.raises(NoQueue):
        owner.purge(b"nobody", print)
    with pytest.raises(NoExchange):
        owner.delete_exchange(b"nobody", print)
    with pytest.raises(NotPermitted):
        owner.delete_exchange(b"amq.direct", print)
    assert list(asked.audit) == []


def test_an_exclusive_queue_is_its_connections_alone(asked):
    asked.node.declare(b"q", object(), exclusive=True)
    owner = asked.within(None)
    for call in (owner.purge, owner.delete_queue, lambda name, then: owner.fetch(name, 1, then)):
        with pytest.raises(Locked):
            call(b"q", print)
    assert owner.queue(b"q").facts.exclusive
    with pytest.raises(Refused, match="would go with the request"):
        owner.declare_queue(QueueFacts(b"e", exclusive=True), print)


def test_a_queue_is_declared_once_and_a_name_is_made_for_it(asked):
    owner = asked.within(None)
    queue = asked.told(lambda then: owner.declare_queue(QueueFacts(b"q", True), then))
    assert asked.told(lambda then: owner.declare_queue(QueueFacts(b"q", True), then)) is queue
    named = asked.told(lambda then: owner.declare_queue(QueueFacts(b"", True), then))
    assert named.facts.name.startswith(b"amq.gen-")


def test_what_was_fetched_goes_where_it_is_told_to(asked):
    asked.node.declare(b"q")
    asked.node.publish(b"q", b"1")
    fetched = asked.told(lambda then: asked.within(None).fetch(b"q", 5, then))
    fetched.end(acts.settled)
    asked.node.run()
    assert asked.node.ready(b"q") == 0


@pytest.mark.parametrize(("kind", "of"), [("x-topic", "topic"), ("x-channel", "channel")])
def test_an_exchange_leads_only_where_who_declares_it_may_write(asked, kind, of):
    asked.users.permit("al", ".*", ".*", ".*")
    facts = ExchangeFacts(b"new", kind, arguments=arguments_of({"x-target": "audit"}))
    with pytest.raises(Forbidden, match=f"may not write {of} 'audit'"):
        asked.told(lambda then: asked.within().declare_exchange(facts, then))
    asked.users.allow("al", "write", of, "audit")
    assert asked.told(lambda then: asked.within().declare_exchange(facts, then)) is facts
