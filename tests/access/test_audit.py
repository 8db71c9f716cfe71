"""What happens, gathered into records of the audit log."""

import pytest

from logstore.access import audit
from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.audit import (
    ACTS_MAX,
    CROWD_MAX,
    DONE,
    GATHERED_MAX,
    LOGIN,
    REFUSED,
    USERS_MAX,
    WHATS_MAX,
    Gathering,
)
from logstore.access.identity import OWNER, Identity
from logstore.access.scram_keys import keys_of
from logstore.errors import Refused
from logstore.kept.users import (
    PREFIX,
    KeptAccess,
    KeptPermission,
    KeptQuota,
    KeptRule,
    KeptTopicPermission,
    KeptUser,
)

AL = Identity("al", "10.0.0.1", "PLAIN", "kafka")


def counts(entries):
    return [(it.event, it.outcome, it.user, it.host, it.count) for it in entries]


def test_logins_of_one_user_and_address_are_one_record():
    gathering = Gathering()
    other = Identity("al", "10.0.0.2")
    for at in range(5):
        assert gathering.add(LOGIN, AL, "", REFUSED, 1000 + at) is None
    assert gathering.add(LOGIN, other, "", REFUSED, 2000) is None
    assert gathering.add(LOGIN, AL, "", DONE, 3000) is None
    assert gathering
    entries = gathering.take()
    assert counts(entries) == [
        (LOGIN, REFUSED, "al", "10.0.0.1", 5),
        (LOGIN, REFUSED, "al", "10.0.0.2", 1),
        (LOGIN, DONE, "al", "10.0.0.1", 1),
    ]
    assert entries[0].fields() == {
        "event": "login", "outcome": "refused", "user": "al", "host": "10.0.0.1",
        "door": "kafka", "mechanism": "PLAIN", "what": [], "count": 5,
        "first_ms": 1000, "last_ms": 1004,
    }  # fmt: skip
    assert not gathering
    assert not gathering.take()


def test_what_was_refused_names_its_objects_once_and_so_many():
    gathering = Gathering()
    for number in range(100):
        for _ in range(2):
            gathering.add(audit.ACCESS, AL, f"write topic t{number}", REFUSED, number)
    [entry] = gathering.take()
    assert entry.count == 200
    assert [*entry.what] == [f"write topic t{number}" for number in range(WHATS_MAX)]


def test_what_needs_a_right_is_a_record_at_once():
    gathering = Gathering()
    first = gathering.add(audit.TOPIC, AL, "deleted a", DONE, 1)
    other = gathering.add(audit.TOPIC, AL, "deleted b", DONE, 2)
    assert [[*first.what], [*other.what]] == [["deleted a"], ["deleted b"]]
    assert not gathering.take()
    again = gathering.add(audit.TOPIC, AL, "deleted a", DONE, 3)
    assert again is not None  # ten seconds later
    for at in (4, 5):
        assert gathering.add(audit.TOPIC, AL, "deleted a", DONE, at) is None
    [entry] = gathering.take()
    assert (entry.count, entry.first_ms, entry.last_ms, [*entry.what]) == (2, 4, 5, ["deleted a"])


def test_names_that_are_guessed_are_told_apart_so_many():
    gathering = Gathering()
    for number in range(1000):
        gathering.add(LOGIN, Identity(f"u{number}", "10.0.0.1"), "", REFUSED, 0)
    entries = gathering.take()
    assert len(entries) == USERS_MAX + 1
    assert counts(entries)[-1] == (LOGIN, REFUSED, "", "10.0.0.1", 1000 - USERS_MAX)
    assert sum(it.count for it in entries) == 1000


def test_users_of_one_address_who_came_in_are_all_told():
    gathering = Gathering()
    for number in range(100):
        gathering.add(LOGIN, Identity(f"u{number}", "10.0.0.1"), "", DONE, 0)
    assert {it.user for it in gathering.take()} == {f"u{number}" for number in range(100)}


def test_addresses_beyond_measure_are_counted_together():
    gathering = Gathering()
    for number in range(3 * GATHERED_MAX):
        gathering.add(LOGIN, Identity("root", f"10.{number}"), "", REFUSED, 0)
        gathering.add(LOGIN, Identity(f"u{number}", "h"), "", DONE, 0)
    entries = gathering.take()
    assert len(entries) <= GATHERED_MAX + 2
    for outcome in (DONE, REFUSED):
        assert sum(it.count for it in entries if it.outcome == outcome) == 3 * GATHERED_MAX
        assert (LOGIN, outcome, "", "") in [it[:4] for it in counts(entries)]


def test_what_needs_a_right_is_told_however_much_was_gathered():
    gathering = Gathering()
    for number in range(2 * GATHERED_MAX):
        gathering.add(LOGIN, Identity("root", f"10.{number}"), "", REFUSED, 0)
    for number in range(ACTS_MAX):
        assert gathering.add(audit.TOPIC, AL, f"deleted {number}", DONE, 0) is not None


def test_very_many_acts_share_records_that_name_each():
    gathering = Gathering()
    told = [
        gathering.add(audit.TOPIC, AL, f"deleted {number}", DONE, number)
        for number in range(ACTS_MAX + 2 * CROWD_MAX + 7)
    ]
    other = Identity("bob", "10.0.0.1")
    assert gathering.add(audit.TOPIC, other, "deleted t", DONE, 0) is not None
    told = [*filter(None, told), *gathering.take()]
    assert len(told) == ACTS_MAX + 3
    assert [what for it in told for what in it.what] == [
        f"deleted {number}" for number in range(ACTS_MAX + 2 * CROWD_MAX + 7)
    ]
    assert sum(it.count for it in told) == ACTS_MAX + 2 * CROWD_MAX + 7
    assert gathering.add(audit.TOPIC, AL, "deleted 0", DONE, 0) is not None  # ten seconds later


def test_names_are_one_line_of_bounded_length():
    gathering = Gathering()
    odd = Identity("a\nb\x1b[31m\udcff", "h", "PLAIN", "kafka")
    entry = gathering.add(audit.TOPIC, odd, "x" * 10_000 + "\n", DONE, 0)
    assert entry.user == r"a\nb\x1b[31m\udcff"
    assert [len(it) for it in entry.what] == [audit.SHOWN_CHARACTERS]
    assert entry.key() == entry.user.encode()


def test_the_owner_of_the_directory_is_told_as_such():
    entry = Gathering().add(audit.USER, OWNER, "made al", DONE, 0)
    assert (entry.user, entry.host, entry.mechanism) == ("__owner__", "", "data directory")
    assert entry.key() == b"__owner__"


# Changes of users and rules


class Heard:
    def __init__(self):
        self.told = []

    def tell(self, event, who, what="", outcome=DONE):
        self.told.append((event, who, what, outcome))


ROOT = KeptUser("root", tags=(ADMINISTRATOR,))
BY = Identity("root", "10.0.0.7", "PLAIN", "kafka")


def changed(keep=(), forget=(), *, users=(ROOT,)):
    access = Access(Unkept(KeptAccess(users=users)))
    access.audit = Heard()
    access.change(keep, forget, by=BY)
    assert all((who, outcome) == (BY, DONE) for _, who, _, outcome in access.audit.told)
    return [(event, what) for event, _, what, _ in access.audit.told]


KEYS = keys_of(b"a secret", 4096)


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        (KeptUser("al", KEYS), (audit.USER, "made al, tags none")),
        (KeptUser("al", tags=("a", "b")), (audit.USER, "made al, tags a, b")),
        (KeptUser("root", KEYS, ROOT.tags), (audit.USER, "changed root: password")),
        (
            KeptUser("root", tags=(ADMINISTRATOR, "b"), redis="on", weak_sha256=("ab" * 32,)),
            (audit.USER, "changed root: password, tags administrator, b, Redis rules"),
        ),
        (ROOT, (audit.USER, "changed root: nothing")),
        (
            KeptRule("al", "read", "topic", "ord", PREFIX, False),
            (audit.RULE, "made deny user al read topic:ord (prefix) from *"),
        ),
        (
            KeptPermission("al", "/", "", "^a", ".*"),
            (
                audit.PERMISSION,
                "set permission of al in virtual host /: configure '', write '^a', read '.*'",
            ),
        ),
        (
            KeptTopicPermission("al", "/", "x", "^a", ".*"),
            (
                audit.PERMISSION,
                "set permission of al in virtual host / at exchange x: write '^a', read '.*'",
            ),
        ),
        (
            KeptQuota((("client-id", None), ("user", "al")), {"producer_byte_rate": 1000.0}),
            (audit.QUOTA, "set quota of client-id <default>, user al: producer_byte_rate=1000"),
        ),
    ],
)
def test_a_change_is_told_without_secrets(fact, told):
    assert changed([fact]) == [told]
    if not isinstance(fact, KeptUser):
        [(event, what)] = changed([], [fact])
        assert event == told[0]
        assert what.startswith("removed")


def test_a_user_who_goes_is_told_with_what_was_his():
    rule = KeptRule("al", "read", "topic", "t")
    told = changed([], [KeptUser("al"), rule], users=(ROOT, KeptUser("al")))
    assert told == [
        (audit.USER, "deleted al"),
        (audit.RULE, "removed allow user al read topic:t (literal) from *"),
    ]


def test_the_first_user_and_the_last_are_told():
    """To an audit log that keeps nothing while there are no users."""
    access = Access(Unkept())
    access.audit = heard = Heard()
    heard.tell = lambda *told, **_: heard.told.append(told) if access.required else None
    access.change([KeptUser("al")])
    access.change([], [KeptUser("al")])
    assert [what for _, _, what in heard.told] == ["made al, tags none", "deleted al"]


def test_a_change_that_was_refused_is_not_told():
    access = Access(Unkept(KeptAccess(users=[ROOT])))
    access.audit = Heard()
    with pytest.raises(Refused):
        access.change([], [ROOT])
    assert not access.audit.told
