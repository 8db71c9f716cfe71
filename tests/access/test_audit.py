"""What happens, gathered into records of the audit log."""

from logstore.access import audit
from logstore.access.audit import (
    DONE,
    GATHERED_MAX,
    LOGIN,
    REFUSED,
    USERS_MAX,
    WHATS_MAX,
    Gathering,
)
from logstore.access.identity import OWNER, Identity

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
        assert gathering.add(audit.TOPIC, AL, f"deleted {number}", DONE, 0) is not None


def test_names_are_one_line_of_bounded_length():
    gathering = Gathering()
    odd = Identity("a\nb\x1b[31m\udcff", "h", "PLAIN", "kafka")
    entry = gathering.add(audit.TOPIC, odd, "x" * 10_000 + "\n", DONE, 0)
    assert entry.user == r"a\nb\x1b[31m\udcff"
    assert [len(it) for it in entry.what] == [audit.SHOWN_CHARACTERS]
    assert entry.key() == entry.user.encode()


def test_the_owner_of_the_directory_is_told_as_such():
    entry = Gathering().add(audit.USER, OWNER, "made al", DONE, 0)
    assert (entry.user, entry.host, entry.mechanism) == ("", "", "data directory")
    assert entry.key() == b"-"
