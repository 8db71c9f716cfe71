"""Commands about keys that another node serves, carried out there."""

import pytest
from keys_kit import ApartDoor
from redis.lock import Lock
from redis_parts import request
from resp_kit import user

from logstore.errors import BrokenProtocol, ClusterUnreachable, NotOwned
from logstore.node import asked_keys
from logstore.protocols.resp import relayed, relaying
from logstore.protocols.resp.relayed import Relayed
from logstore.protocols.resp.relaying import Asked, read
from logstore.protocols.resp.session import RespSession
from logstore.relay.messages import FRAME_BYTES_MAX

OK = b"+OK\r\n"
NIL = b"$-1\r\n"


class Two:
    """A node that serves database 0, and ``front``, which serves none and asks it."""

    def __init__(self, **facts):
        self.owner, self.front = ApartDoor(**facts), ApartDoor(**facts)
        self.log = self.owner.own(0)
        self.asked, self.given_up, self.fails = [], 0, None
        self.front.keys.ask_owner = self.ask

    def ask(self, database, content, then):
        if self.fails is not None:
            then(self.fails)
            return lambda: None
        its = Relayed(self.new_session, content, self, self.owner.around.soon, then)
        self.asked.append(its)
        return its.give_up

    def new_session(self, link):
        return RespSession(self.owner.door, self.owner.everyone, link)

    # As house.Timer

    def now(self):
        return self.owner.now

    def call_at(self, at, call):
        self.due = at, call
        return self

    def cancel(self):
        self.due = None

    def pass_time(self, seconds):
        self.owner.now += seconds
        at, call = self.due
        if at <= self.owner.now:
            call()
        self.go_on()

    def go_on(self):
        self.owner.sync(self.log)
        self.front.look()


@pytest.fixture
def two():
    return Two()


@pytest.fixture
def peer(two):
    return Told(two, two.front.connect())


class Told:
    """A client of the front; all is synced before it looks for its replies."""

    def __init__(self, two, peer):
        self.two, self.peer = two, peer

    def ask(self, *words):
        return self.send(request(*words))

    def send(self, data):
        got = self.peer.send(data)
        for _ in range(20):
            self.two.go_on()
            got += self.peer.new() + self.peer.wait(0)
        return got


def test_the_owner_answers_for_the_node_that_is_asked(two, peer):
    assert peer.ask("SET", "a", "1") == OK
    assert peer.ask("GET", "a") == b"$1\r\n1\r\n"
    assert peer.ask("INCR", "a") == b":2\r\n"
    assert b"WRONGTYPE" in peer.ask("LPUSH", "a", "x")
    assert two.owner.connect().ask("GET", "a") == b"$1\r\n2\r\n"
    assert len(two.owner.everyone) == 1


def test_an_answer_waits_until_the_change_is_safe(two):
    peer = two.front.connect()
    assert peer.ask("SET", "a", "1") == b""
    two.owner.around.end_turn()
    two.front.look()
    assert peer.new() == b""
    assert peer.session.busy
    two.go_on()
    assert peer.new() == OK


def test_replies_come_in_the_order_of_the_requests(two, peer):
    data = b"".join(
        request(*it)
        for it in (("PING",), ("SET", "a", "1"), ("ECHO", "x"), ("GET", "a"), ("PING",))
    )
    assert peer.send(data) == b"+PONG\r\n" + OK + b"$1\r\nx\r\n$1\r\n1\r\n+PONG\r\n"


def test_a_transaction_goes_as_one(two, peer):
    assert peer.ask("MULTI") == OK
    assert peer.ask("SET", "a", "1") == b"+QUEUED\r\n"
    assert peer.ask("INCR", "a") == b"+QUEUED\r\n"
    assert peer.ask("PING") == b"+QUEUED\r\n"
    assert two.asked == []
    assert peer.ask("EXEC") == b"*3\r\n+OK\r\n:2\r\n+PONG\r\n"
    assert len(two.asked) == 1
    assert len(two.log.batches) == 1


@pytest.mark.parametrize("words", [("SELECT", 1), ("SUBSCRIBE", "c"), ("CLIENT", "ID")])
def test_a_transaction_that_is_about_this_connection_is_not_done(two, peer, words):
    peer.ask("MULTI")
    peer.ask("SET", "a", "1")
    peer.ask(*words)
    assert b"EXECABORT" in peer.ask("EXEC")
    assert two.asked == []
    assert peer.ask("EXISTS", "a") == b":0\r\n"


def test_what_waits_is_answered_when_something_comes_or_its_time_is_over(two, peer):
    assert peer.ask("BLPOP", "list", 0) == b""
    assert not peer.peer.session.busy
    other = two.owner.connect()
    other.ask("RPUSH", "list", "x")
    two.go_on()
    assert peer.send(b"") == b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n"
    assert peer.ask("BLPOP", "list", 5) == b""
    two.pass_time(6)
    assert peer.send(b"") == b"*-1\r\n"
    assert len(two.owner.everyone) == 1


def test_nothing_is_taken_for_a_client_that_is_gone(two, peer):
    assert peer.ask("BLPOP", "list", 0) == b""
    peer.peer.session.close()
    two.go_on()
    assert two.owner.everyone == {}
    other = two.owner.connect()
    other.ask("RPUSH", "list", "x")
    two.owner.sync(two.log)
    other.new()
    assert other.ask("LLEN", "list") == b":1\r\n"


def test_whoever_waits_is_told_when_the_owner_is_another_one(two, peer):
    assert peer.ask("BLPOP", "list", 0) == b""
    two.owner.lose(0)
    assert b"-NOTOWNED database 0 is served by node b" in peer.send(b"")


def test_an_owner_that_is_none_any_more_says_so_and_asks_nobody(two, peer):
    two.owner.keys.ask_owner = two.ask
    two.owner.lose(0)
    assert peer.ask("GET", "a") == b"-NOTOWNED database 0 is served by node b\r\n"
    assert len(two.asked) == 1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotOwned("database 0 is not reached"), b"-NOTOWNED database 0 is not reached\r\n"),
        (
            ClusterUnreachable("the link is gone"),
            b"-ERR it is not known whether another node has done it: the link is gone\r\n",
        ),
    ],
)
def test_an_owner_that_is_not_reached_is_told_in_one_line(two, peer, error, said):
    two.fails = error
    assert peer.ask("SET", "a", "1") == said
    assert peer.ask("PING") == b"+PONG\r\n"
    peer.ask("MULTI")
    peer.ask("GET", "a")
    assert peer.ask("EXEC") == said


def test_what_hangs_on_one_node_is_refused(two, peer):
    assert b"NOTOWNED" in peer.ask("WATCH", "a")
    peer.ask("HELLO", 3)
    peer.ask("CLIENT", "TRACKING", "ON")
    assert b"NOTOWNED CLIENT TRACKING" in peer.ask("GET", "a")


def test_answers_are_of_the_client_s_version(two, peer):
    peer.ask("HELLO", 3)
    assert peer.ask("GET", "a") == b"_\r\n"
    peer.ask("HSET", "h", "f", "v")
    assert peer.ask("HGETALL", "h").startswith(b"%1\r\n")


def test_a_user_may_do_there_what_he_may_do_here():
    rules = user("ada", "pw", redis="on ~a* +@all -flushdb")
    two = Two(users=[rules])
    peer = Told(two, two.front.connect())
    assert b"NOAUTH" in peer.ask("GET", "a")
    assert peer.ask("AUTH", "ada", "pw") == OK
    assert peer.ask("SET", "a", "1") == OK
    assert b"NOPERM" in peer.ask("SET", "b", "1")
    assert b"NOPERM" in peer.ask("FLUSHDB")
    assert len(two.asked) == 1


def test_all_databases_are_flushed_wherever_they_are(two, peer):
    logs = [two.owner.own(number) for number in range(1, 16)]
    mine = two.front
    two.owner.keys.lose(5, "database 5 is served by the other")
    log = mine.own(5)

    def answer(*words):
        got = peer.peer.ask(*words)
        for _ in range(3):
            for it in (log, *logs):
                it.sync()
            got += peer.send(b"")
        return got

    for number in (0, 3, 5):
        assert answer("SELECT", number) == answer("SET", "a", "1") == OK
    assert mine.keys.databases[5].values
    assert two.owner.keys.databases[3].values
    assert answer("FLUSHALL") == OK
    assert not mine.keys.databases[5].values
    assert not any(it.values for it in two.owner.keys.databases)


def test_a_flush_that_another_node_refuses_is_told(two, peer):
    assert peer.ask("FLUSHALL").startswith(b"-NOTOWNED database 1 is not served yet")


def test_large_values_come_whole(two, peer):
    value = b"v" * 3_000_000
    assert peer.ask("SET", "a", value) == OK
    assert peer.ask("GET", "a") == b"$3000000\r\n" + value + b"\r\n"


def test_an_answer_that_is_too_long_for_the_link_is_refused_and_nothing_else(
    two, peer, monkeypatch
):
    assert relayed.ANSWER_BYTES_MAX < FRAME_BYTES_MAX
    monkeypatch.setattr(relayed, "ANSWER_BYTES_MAX", 10_000)
    assert peer.ask("SET", "a", "v" * 9_900) == OK
    assert peer.ask("STRLEN", "a") == b":9900\r\n"
    assert peer.ask("MGET", "a", "a").startswith(b"-ERR it is not known")
    assert len(peer.ask("GET", "a")) > 9_900
    assert two.owner.everyone == {}


def test_a_command_that_is_too_long_for_the_link_is_not_sent(two, peer, monkeypatch):
    assert relaying.BYTES_MAX == asked_keys.BYTES_MAX < FRAME_BYTES_MAX
    monkeypatch.setattr(relaying, "BYTES_MAX", 10_000)
    assert peer.ask("SET", "a", "v" * 10_000).startswith(b"-ERR at most 10000 bytes")
    assert two.asked == []
    assert peer.ask("EXISTS", "a") == b":0\r\n"


def test_others_have_their_turn_while_a_long_transaction_is_queued(two):
    queued = b"".join(request("SET", f"k{it}", "v") for it in range(5_000))
    asked = Asked(2, 0, "", request("MULTI") + queued, request("EXEC"))
    soon, turns, got = {}, 0, []  # calls that are equal are one, as in a turn of the server
    Relayed(two.new_session, asked.written(), two, lambda it: soon.update({it: None}), got.append)
    while soon and not got:
        calls, soon = soon, {}
        for call in calls:
            call()
        two.owner.sync(two.log)
        turns += 1
    assert got == [b"*5000\r\n" + 5_000 * OK]
    assert turns >= 5


def test_a_script_that_is_known_is_carried_out_there(two, peer):
    script = Lock.LUA_RELEASE_SCRIPT
    peer.ask("SET", "a", "1")
    assert peer.ask("EVAL", script, 1, "a", "1") == b":1\r\n"
    assert peer.ask("EXISTS", "a") == b":0\r\n"


@pytest.mark.parametrize("cut", [0, 3, 8, 9, 12])
def test_what_is_cut_off_is_refused(cut):
    content = Asked(2, 0, "ada", b"", b"*1\r\n$4\r\nPING\r\n").written()
    assert read(content).user == "ada"
    with pytest.raises(BrokenProtocol):
        read(content[:cut])


def test_a_database_that_there_is_not_is_refused():
    with pytest.raises(BrokenProtocol, match="database 16"):
        read(Asked(2, 16, "ada", b"", request("PING")).written())
