"""Passwords against kept keys: what a check costs, what is remembered, whose turn it is."""

import hashlib

import pytest
from msgspec.structs import replace

from logstore.access import passwords
from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.failures import DELAY_MAX_S, FORGOTTEN_S, HOSTS_MAX, Failures
from logstore.access.identity import Identity
from logstore.access.logins import Login
from logstore.access.passwords import (
    RUNNING_MAX,
    WAITING_OF_ONE_MAX,
    Passwords,
)
from logstore.access.plain import NO_NAME, NO_PASSWORD, WRONG, PlainServer
from logstore.access.sasl import OTHER_AUTHZID, Done, Refusal
from logstore.access.scram_keys import ITERATIONS, is_key_of, key_of, keys_of
from logstore.errors import ClusterUnreachable, CorruptStore, InvalidName
from logstore.kept.users import SHA_256, SHA_512, KeptAccess, KeptUser, Unreadable
from logstore.names import PASSWORD_BYTES_MAX, check_user

HERE = "10.0.0.1"
HASHES = {SHA_256: "sha256", SHA_512: "sha512"}


def a_user(name, password, *, mechanisms=(SHA_256, SHA_512), rounds=4096, tags=()):
    keys = {it: key for it, key in keys_of(password, rounds).items() if it in mechanisms}
    return KeptUser(name, keys, tags)


AL = a_user("al", b"pencil")
ROOT = a_user("root", b"key", tags=(ADMINISTRATOR,))
OLD = a_user("old", b"pencil", mechanisms=(SHA_512,))
LONG = a_user("long", b"pencil", rounds=16_384)


class Bench:
    """Passwords, with the workers in the test's hands."""

    def __init__(self, *users, damaged=(), read_on=None):
        self.access = Access(Unkept(KeptAccess(users=users or (AL, ROOT), damaged=damaged)))
        self.jobs = []
        self.now = 0.0
        self.logins = Passwords(
            self.access, lambda *it: self.jobs.append(it), lambda: self.now, b"secret", 0.1, read_on
        )

    def work(self):
        """Do what the workers were given, and what follows of it."""
        done = 0
        while self.jobs:
            job, then = self.jobs.pop(0)
            then(job())
            done += 1
        return done

    def begin(self, name, password, host=HERE):
        told = []
        self.logins.check(name, password, host, told.append)
        return told

    def check(self, name, password, host=HERE):
        told = self.begin(name, password, host)
        self.work()
        [login] = told
        return login


@pytest.fixture
def rounds(monkeypatch):
    """The rounds of each hash that were made since."""
    made, real = [], hashlib.pbkdf2_hmac

    def counted(name, password, salt, iterations):
        made.append((name, iterations))
        return real(name, password, salt, iterations)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counted)

    def since():
        found = {}
        for name, iterations in made:
            found[name] = found.get(name, 0) + iterations
        made.clear()
        return found

    return since


def test_the_right_password_lets_in():
    assert Bench().check(b"al", b"pencil") == Login("al")


@pytest.mark.parametrize(
    ("name", "password"),
    [(b"al", b"Pencil"), (b"Al", b"pencil"), (b"", b"pencil"), (b"al", b""), (b"\xff", b"pencil")],
)
def test_anything_else_does_not(name, password):
    assert Bench().check(name, password).user is None


@pytest.mark.parametrize("mechanism", [SHA_256, SHA_512])
def test_what_hashes_to_the_same_is_not_the_same_password(mechanism):
    long = b"x" * 200  # more than a block of the hash
    bench = Bench(a_user("al", b"pencil", mechanisms=[mechanism]), a_user("bo", long))
    assert bench.check(b"al", b"pencil").user == "al"
    assert bench.check(b"al", b"pencil\0").user is None
    assert bench.check(b"al", b"pencil" + bytes(58)).user is None
    assert bench.check(b"bo", long).user == "bo"
    assert bench.check(b"bo", hashlib.new(HASHES[mechanism], long).digest()).user is None


def test_a_user_with_sha_512_alone_is_checked_by_that():
    bench = Bench(OLD, ROOT)
    assert bench.check(b"old", b"pencil") == Login("old")
    assert bench.check(b"old", b"brush").user is None


def test_a_user_without_keys_does_not_come_in_by_a_password():
    assert Bench(KeptUser("bare"), ROOT).check(b"bare", b"pencil").user is None


@pytest.mark.parametrize(
    "users", [(AL, ROOT), (AL, ROOT, LONG), (AL, OLD), (OLD,), (KeptUser("no"),)]
)
def test_every_refusal_costs_the_same_rounds(users, rounds):
    bench = Bench(*users)
    costs = []
    for name in [*(it.name.encode() for it in users), b"nobody", b"somebody else"]:
        assert bench.check(name, b"brush").user is None
        costs.append(rounds())
    assert costs == [costs[0]] * len(costs)
    assert sum(costs[0].values()) >= 4096


def test_a_name_that_nobody_has_costs_as_much_while_there_are_no_keys(rounds):
    Bench(KeptUser("no")).check(b"nobody", b"x")
    assert rounds() == {"sha256": ITERATIONS}


def test_what_was_right_costs_no_round_again(rounds):
    bench = Bench()
    bench.check(b"al", b"pencil")
    rounds()
    assert bench.begin(b"al", b"pencil") == [Login("al")]
    assert rounds() == {}
    assert bench.check(b"al", b"brush").user is None
    assert rounds() != {}


def test_the_remembered_are_not_in_memory_in_the_clear():
    bench = Bench()
    bench.check(b"al", b"pencil")
    assert not any(b"pencil" in it for it in bench.logins._right)


def test_a_changed_password_is_asked_for_anew():
    bench = Bench()
    bench.check(b"al", b"pencil")
    bench.access.change([a_user("al", b"brush")])
    assert bench.check(b"al", b"pencil").user is None
    assert bench.check(b"al", b"brush") == Login("al")


def test_a_deleted_user_is_forgotten():
    bench = Bench()
    bench.check(b"al", b"pencil")
    bench.access.change(forget=[AL])
    assert bench.check(b"al", b"pencil").user is None


def test_a_password_that_is_changed_while_it_is_checked_counts_as_it_is_then():
    bench = Bench()
    told = bench.begin(b"al", b"pencil")
    bench.access.change([a_user("al", b"brush")])
    bench.work()
    assert told[0].user is None
    told = bench.begin(b"al", b"crayon")
    bench.access.change([a_user("al", b"crayon")])
    bench.work()
    assert told == [Login("al")]


def test_a_fault_in_a_worker_lets_nobody_in():
    bench = Bench()
    told = bench.begin(b"al", b"pencil")
    _, then = bench.jobs.pop()
    then(CorruptStore("a bug"))
    assert told[0].user is None


def test_few_hashes_are_made_at_a_time_and_each_address_has_its_turn():
    bench = Bench()
    crowd = [bench.begin(b"al", b"guess %d" % n, "10.6.6.6") for n in range(100)]
    mine = bench.begin(b"al", b"pencil", HERE)
    assert len(bench.jobs) == RUNNING_MAX
    done = 0
    while not mine:
        job, then = bench.jobs.pop(0)
        then(job())
        done += 1
    assert mine == [Login("al")]
    assert done <= 2 * RUNNING_MAX
    bench.work()
    assert all(it[0].user is None for it in crowd)


def test_who_tries_and_leaves_can_not_fill_memory_and_holds_up_nobody_else():
    bench = Bench()
    flood = [bench.begin(b"al", b"%d" % n, f"2001:db8::{n:x}") for n in range(2100)]
    assert sum(map(bool, flood)) == 2100 - WAITING_OF_ONE_MAX - RUNNING_MAX
    assert flood[-1][0].user is None
    mine = bench.begin(b"al", b"pencil")
    for _ in range(RUNNING_MAX):  # those of the flood that are under way
        bench.jobs.pop(0)[1](False)
    for job, then in list(bench.jobs):
        then(job())
    assert mine == [Login("al")]


def test_a_password_that_is_longer_than_any_does_not_wait(rounds):
    bench = Bench()
    for name in (b"al", b"nobody"):
        [login] = bench.begin(name, b"p" * (PASSWORD_BYTES_MAX + 1))
        assert login.user is None
    assert rounds() == {}
    assert not bench.begin(b"al", b"p" * PASSWORD_BYTES_MAX)


def test_a_crowd_of_a_few_addresses_does_not_keep_others_out(monkeypatch):
    monkeypatch.setattr(passwords, "WAITING_MAX", 100)
    bench = Bench()
    crowd = {
        host: [bench.begin(b"al", b"guess %d" % n, host) for n in range(40)]
        for host in ("10.6.6.1", "10.6.6.2", "10.6.6.3")
    }
    assert bench.logins._waits == 100
    others = [bench.begin(b"al", b"pencil", f"10.0.0.{n}") for n in range(20)]
    assert not any(others)
    assert bench.logins._waits == 100
    waiting = {host: sum(not it for it in tries) for host, tries in crowd.items()}
    assert max(waiting.values()) <= 2 + min(waiting.values()) + RUNNING_MAX
    bench.work()
    assert others == [[Login("al")]] * 20
    assert all(it[0].user is None for tries in crowd.values() for it in tries)
    assert (bench.logins._waits, len(bench.logins._waiting)) == (0, 0)


def test_very_many_addresses_may_keep_others_out_and_are_not_looked_through(monkeypatch):
    monkeypatch.setattr(passwords, "WAITING_MAX", 20)
    monkeypatch.setattr(passwords, "CROWD_MAX", 5)
    bench = Bench()
    for n in range(40):
        bench.begin(b"al", b"guess", f"10.6.6.{n // 2}")
    assert bench.begin(b"al", b"pencil")[0].user is None


def test_a_thousand_who_connect_at_once_with_one_password_cost_few_hashes():
    bench = Bench()
    crowd = [bench.begin(b"al", b"pencil") for _ in range(1000)]
    assert bench.work() == RUNNING_MAX
    assert crowd == [[Login("al")]] * 1000


@pytest.mark.parametrize("forbids", [True, False])
def test_while_a_row_can_not_be_read_that_may_forbid_it_only_administrators_come_in(forbids):
    bench = Bench(AL, ROOT, damaged=[Unreadable(b"key", "a row", forbids)])
    if not forbids:
        assert bench.check(b"al", b"pencil") == Login("al")
        return
    assert bench.check(b"al", b"pencil").user is None
    assert bench.check(b"root", b"key") == Login("root")
    assert not bench.logins.find(SHA_256, "al").known
    assert bench.logins.find(SHA_256, "root").known


def test_the_made_up_rounds_of_a_name_that_nobody_has_are_those_of_some_user():
    bench = Bench(AL, ROOT, LONG)
    names = [f"nobody {n}" for n in range(100)]
    found = {name: bench.logins.find(SHA_256, name) for name in names}
    assert not any(it.known for it in found.values())
    # Either as often, so that neither tells that there is a user: he may have any.
    assert 20 < sum(it.key.iterations == 4096 for it in found.values()) < 80
    assert {it.key.iterations for it in found.values()} == {4096, 16_384}
    for name in names:
        assert found[name] == bench.logins.find(SHA_256, name)
        assert found[name].key.iterations == bench.logins.find(SHA_512, name).key.iterations
    assert Bench(OLD).logins.find(SHA_256, "nobody").key.iterations == ITERATIONS
    assert bench.logins.find(SHA_256, "al").key == AL.scram[SHA_256]


def test_what_a_name_that_nobody_has_looks_like_stays_where_users_of_another_kind_come():
    bench = Bench(AL, ROOT)
    names = [f"nobody {n}" for n in range(100)]
    before = {name: bench.logins.find(SHA_256, name) for name in names}
    bench.access.change([LONG])
    now = {name: bench.logins.find(SHA_256, name) for name in names}
    changed = [now[name] for name in names if now[name] != before[name]]
    assert {it.key.iterations for it in changed} == {16_384}


def test_the_made_up_salt_is_as_long_as_that_of_some_user():
    salted = KeptUser("salted", {SHA_512: key_of(SHA_512, b"s", bytes(100), 4096)})
    bench = Bench(AL, salted)
    lengths = {len(bench.logins.find(SHA_512, f"nobody {n}").key.salt) for n in range(50)}
    assert lengths == {100, len(AL.scram[SHA_512].salt)}
    assert len(bench.logins.find(SHA_256, "nobody").key.salt) == len(AL.scram[SHA_256].salt)


def test_the_shapes_that_a_stranger_has_looked_through_are_few():
    odd = [
        KeptUser(f"{n}", {SHA_512: key_of(SHA_512, b"s", bytes(n + 1), 4096)}) for n in range(90)
    ]
    bench = Bench(AL, ROOT, *odd)
    assert len(bench.logins._figures()[1][SHA_512]) == passwords.SHAPES_MAX


# Delays


def test_each_further_failure_of_an_address_is_held_back_twice_as_long():
    bench = Bench()
    delays = [bench.check(b"al", b"guess %d" % n).delay_s for n in range(4)]
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert bench.check(b"al", b"guess", "10.0.0.2").delay_s == pytest.approx(0.1)
    assert bench.check(b"al", b"pencil").delay_s == 0


def test_the_delay_is_bounded_and_forgotten():
    failures = Failures(0.1)
    assert [failures.add(HERE, 0.0) for _ in range(5000)][-1] == DELAY_MAX_S
    assert failures.add(HERE, FORGOTTEN_S) == DELAY_MAX_S
    assert failures.add(HERE, 2 * FORGOTTEN_S + 1) == pytest.approx(0.1)


def test_the_addresses_of_one_ipv6_network_are_one():
    failures = Failures(0.1)
    failures.add("2001:db8:1:2::1", 0.0)
    assert failures.add("2001:db8:1:2:ffff::9", 0.0) == pytest.approx(0.2)
    assert failures.add("2001:db8:1:3::1", 0.0) == pytest.approx(0.1)
    failures.add("::ffff:10.0.0.1", 0.0)
    assert failures.add(HERE, 0.0) == pytest.approx(0.2)


def test_addresses_are_remembered_up_to_a_bound():
    failures = Failures(0.1)
    for n in range(HOSTS_MAX + 10):
        failures.add(f"host {n}", 0.0)
    assert len(failures._counts) == HOSTS_MAX


# PLAIN


def plain(token, bench=None):
    bench, steps = bench or Bench(), []
    PlainServer(bench.logins, HERE).take(token, steps.append)
    bench.work()
    [step] = steps
    return step


def test_plain_lets_in_by_name_and_password():
    assert plain(b"\0al\0pencil") == plain(b"al\0al\0pencil") == Done("al")


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        (b"\0al\0brush", Refusal(WRONG, "al", 0.1)),
        (b"\0nobody\0pencil", Refusal(WRONG, "nobody", 0.1)),
        (b"\0\0pencil", Refusal(NO_NAME)),
        (b"\0\0", Refusal(NO_NAME)),
        (b"\0al\0", Refusal(NO_PASSWORD, "al")),
        (b"root\0al\0pencil", Refusal(OTHER_AUTHZID, "al")),
        (b"al\0pencil", Refusal()),
        (b"\0al\0pencil\0", Refusal()),
        (b"", Refusal()),
        (b"\0al\0\xff", Refusal()),
    ],
)
def test_plain_tells_why_not(token, refusal):
    assert plain(token) == refusal


def test_who_is_off_comes_in_by_no_way_and_at_once_when_he_is_on_again():
    off, on = "off sanitize-payload ~* &* +@all", "on sanitize-payload ~* &* +@all"
    bench = Bench(ROOT, replace(AL, redis=on))
    assert bench.check(b"al", b"pencil").user == "al"
    bench.access.change([replace(AL, redis=off)])
    assert bench.check(b"al", b"pencil").user is None  # though it was right before
    assert not bench.logins.admits("al")
    assert not bench.logins.find(SHA_256, "al").known
    bench.access.change([replace(AL, redis=on)])
    assert bench.check(b"al", b"pencil").user == "al"
    assert bench.logins.find(SHA_256, "al").known


def test_a_hash_of_redis_is_no_password_of_other_doors():
    weak = hashlib.sha256(b"weak").hexdigest()
    bench = Bench(ROOT, KeptUser("al", weak_sha256=(weak,), redis="on +@all"))
    assert bench.check(b"al", b"weak").user is None
    assert not bench.logins.find(SHA_256, "al").known


# The owner's ticket


def test_the_ticket_lets_the_owner_in_and_nothing_else_does(rounds):
    bench = Bench()
    assert bench.check(b"__owner__", b"") == Login(None, 0.1)
    assert bench.check(b"__owner__", b"x").user is None  # nobody has asked for one
    ticket = bench.logins.ticket().encode()
    assert bench.logins.ticket().encode() == ticket
    assert len(ticket) >= 40
    assert bench.check(b"__owner__", ticket) == Login("__owner__")
    for wrong in (ticket[:-1], ticket + b"x", ticket.lower(), b"\xff"):
        assert bench.check(b"__owner__", wrong).user is None
    assert bench.check(b"al", ticket).user is None
    assert rounds().keys() <= {"sha256"}  # none but for al
    assert Bench().check(b"__owner__", ticket).user is None  # another process


@pytest.mark.parametrize("mechanism", [SHA_256, SHA_512])
def test_the_ticket_is_good_for_scram(mechanism):
    """Where that is all that a server takes."""
    bench = Bench()
    before = bench.logins.find(mechanism, "__owner__")
    ticket = bench.logins.ticket().encode()
    found = bench.logins.find(mechanism, "__owner__")
    assert (found.known, before.known) == (True, False)
    assert is_key_of(mechanism, found.key, ticket)
    assert not is_key_of(mechanism, found.key, b"x")
    assert (found.key.salt, found.key.iterations) == (before.key.salt, before.key.iterations)
    assert bench.logins.find(mechanism, "__owner__") == found
    assert bench.logins.find(mechanism, "__owner") != found


def test_the_name_of_the_owner_counts_only_where_the_ticket_was_shown():
    access = Bench().access
    for mechanism in ("PLAIN", "AMQPLAIN", "AUTH", SHA_256, SHA_512):
        assert access.is_super(Identity("__owner__", HERE, mechanism))
    for mechanism in ("", "OAUTHBEARER", "EXTERNAL", "SSL"):
        assert not access.is_super(Identity("__owner__", HERE, mechanism))
    assert not Bench().logins.admits("__owner__")
    assert not Bench().logins.find(SHA_256, "__owner__").known


def test_nobody_can_be_called_as_the_owner():
    with pytest.raises(InvalidName):
        check_user("__owner__")


@pytest.mark.parametrize("there", [(ROOT,), (a_user("al", b"old"), ROOT)])
def test_who_was_made_or_changed_at_another_node_a_moment_ago_comes_in(there):
    looks = []
    bench = Bench(*there, read_on=looks.append)
    told = bench.begin(b"al", b"pencil")
    bench.work()
    assert (told, len(looks)) == ([], 1)
    bench.access.users = {"al": AL, "root": ROOT}
    looks.pop()(None)
    bench.work()
    assert (told, looks) == ([Login("al")], [])


@pytest.mark.parametrize("why", [None, ClusterUnreachable("no broker")])
@pytest.mark.parametrize("name", [b"al", b"nobody"])
def test_who_is_not_known_after_that_either_is_refused_once(name, why):
    looks = []
    bench = Bench(read_on=looks.append)
    told = bench.begin(name, b"wrong")
    bench.work()
    looks.pop()(why)
    assert bench.work() == 0
    assert [it.user for it in told] == [None]
    assert looks == []


def test_those_of_whom_it_is_looked_up_elsewhere_count_as_waiting(monkeypatch):
    """A cluster may answer late, or never: names that nobody has would fill memory."""
    monkeypatch.setattr(passwords, "WAITING_OF_ONE_MAX", 10)
    monkeypatch.setattr(passwords, "WAITING_MAX", 15)
    looks = []
    bench = Bench(read_on=looks.append)

    def guess(count, host):
        tries = []
        for n in range(count):
            tries.append(bench.begin(b"nobody", b"%d" % n, host))
            bench.work()
        return tries

    first = guess(30, "10.6.6.1")
    assert (len(looks), sum(not it for it in first)) == (10, 10)
    others = [it for n in range(10) for it in guess(1, f"10.0.0.{n}")]
    assert (len(looks), sum(not it for it in others)) == (15, 5)
    for then in looks:
        then(None)
    assert bench.work() == 0
    assert all(it[0].user is None for it in (*first, *others))
    assert bench.check(b"al", b"pencil") == Login("al")
    assert (bench.logins._waits, len(bench.logins._looking)) == (0, 0)
