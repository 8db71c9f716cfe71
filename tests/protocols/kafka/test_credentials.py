"""What Kafka's tools see and set of users' SCRAM keys."""

import hashlib

import pytest
from msgspec.structs import replace
from sasl_kit import AL, BO, ROOT, Stranger
from scram_client import ScramClient

from logstore.access.access import ADMINISTRATOR, Unkept
from logstore.errors import StorageFull
from logstore.kafka.messages import (
    alter_user_scram_credentials,
    describe_user_scram_credentials,
)
from logstore.kept.keeping import Keeping
from logstore.kept.users import SHA_256, SHA_512, KeptAccess, KeptUser
from logstore.protocols.kafka.credentials import LAST_TO_LEAD

CARD = KeptUser("card", tags=(ADMINISTRATOR,))  # logs in by a certificate
HALF = KeptUser("half", {SHA_512: AL.scram[SHA_512]})


def admin(users=(AL, BO, ROOT)):
    talk = Stranger(users=users)
    talk.log_in(b"\0root\0key")
    return talk


def describe(talk, *names):
    users = [describe_user_scram_credentials.UserName(it) for it in names] if names else None
    request = describe_user_scram_credentials.Request(users)
    answer = talk.ask(50, 0, request, describe_user_scram_credentials.Response)
    assert answer.error_code == 0
    return {
        it.user: (
            it.error_code,
            it.error_message,
            [(one.mechanism, one.iterations) for one in it.credential_infos],
        )
        for it in answer.results
    }


def put(name, password="pencil", mechanism=1, iterations=4096, salt=b"salt"):
    salted = hashlib.pbkdf2_hmac(
        {1: "sha256"}.get(mechanism, "sha512"), password.encode(), salt, max(iterations, 1)
    )
    return alter_user_scram_credentials.ScramCredentialUpsertion(
        name, mechanism, iterations, salt, salted
    )


def drop(name, mechanism=1):
    return alter_user_scram_credentials.ScramCredentialDeletion(name, mechanism)


def alter(talk, *changes):
    upsertion = alter_user_scram_credentials.ScramCredentialUpsertion
    upsertions = [it for it in changes if isinstance(it, upsertion)]
    deletions = [it for it in changes if not isinstance(it, upsertion)]
    request = alter_user_scram_credentials.Request(deletions, upsertions)
    answer = talk.ask(51, 0, request, alter_user_scram_credentials.Response)
    return {it.user: (it.error_code, it.error_message) for it in answer.results}


def test_all_users_that_have_a_key_are_described_with_their_rounds_and_nothing_else():
    both = (0, None, [(1, 4096), (2, 4096)])
    talk = admin((ROOT, HALF, CARD, AL))
    assert describe(talk) == {"al": both, "half": (0, None, [(2, 4096)]), "root": both}


def test_an_empty_list_means_all_as_in_kafka():
    talk = admin()
    request = describe_user_scram_credentials.Request([])
    answer = talk.ask(50, 0, request, describe_user_scram_credentials.Response)
    assert [it.user for it in answer.results] == ["al", "bo", "root"]


def test_a_user_that_is_not_there_or_asked_for_twice():
    talk = admin((ROOT, CARD))
    unknown = "Attempt to describe a user credential that does not exist: "
    assert describe(talk, "root", "no", "no", "card", "nobody") == {
        "root": (0, None, [(1, 4096), (2, 4096)]),
        "no": (
            92,
            "Cannot describe SCRAM credentials for the same user twice in a single request: no",
            [],
        ),
        "card": (91, unknown + "card", []),
        "nobody": (91, unknown + "nobody", []),
    }


@pytest.mark.parametrize(("number", "mechanism"), [(1, SHA_256), (2, SHA_512)])
def test_a_user_who_is_given_a_key_logs_in_with_its_password(number, mechanism):
    talk = admin()
    assert alter(talk, put("new", "paper", number)) == {"new": (0, None)}
    assert set(talk.access.users["new"].scram) == {mechanism}
    other, client = Stranger(beside=talk), ScramClient("new", "paper", mechanism)
    other.handshake(mechanism)
    assert other.token(client.final(other.token(client.first()).auth_bytes)).error_code == 0
    other = Stranger(beside=talk)
    assert other.log_in(b"\0new\0paper").error_code == 0


def test_a_key_that_is_set_anew_leaves_the_others_and_the_tags():
    talk = admin()
    alter(talk, put("root", "paper"))
    root = talk.access.users["root"]
    assert root.scram[SHA_256] != ROOT.scram[SHA_256]
    assert root.scram[SHA_512] == ROOT.scram[SHA_512]
    assert root.tags == (ADMINISTRATOR,)


def test_a_key_is_deleted():
    talk = admin()
    assert alter(talk, drop("al", 2)) == {"al": (0, None)}
    assert set(talk.access.users["al"].scram) == {SHA_256}
    assert alter(talk, drop("al", 2)) == {
        "al": (91, "Attempt to delete a user credential that does not exist")
    }
    assert alter(talk, drop("al", 1)) == {"al": (0, None)}
    assert describe(talk, "al")["al"][0] == 91
    assert "al" in talk.access.users  # with the rules that name him


TWICE = (92, "A user credential cannot be altered twice in the same request")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([put("")], {"": (93, "Username must not be empty")}),
        ([drop("")], {"": (93, "Username must not be empty")}),
        ([put("al", iterations=4095)], {"al": (93, "Too few iterations")}),
        ([put("al", iterations=-1)], {"al": (93, "Too few iterations")}),
        ([put("al", iterations=16_385)], {"al": (93, "Too many iterations")}),
        ([put("al", mechanism=0)], {"al": (33, "Unknown SCRAM mechanism")}),
        ([put("al", mechanism=3)], {"al": (33, "Unknown SCRAM mechanism")}),
        ([drop("al", -1)], {"al": (33, "Unknown SCRAM mechanism")}),
        (
            [drop("nobody")],
            {"nobody": (91, "Attempt to delete a user credential that does not exist")},
        ),
        ([put("al"), drop("al")], {"al": TWICE}),
        ([put("al", "one"), put("al", "two")], {"al": TWICE}),
        ([put("al", salt=b"")], {"al": (93, "a salt of 0 bytes: 1 to 1024 are allowed")}),
        (
            [put("al", salt=bytes(2000))],
            {"al": (93, "a salt of 2000 bytes: 1 to 1024 are allowed")},
        ),
    ],
)
def test_what_cannot_be_is_told_of_each_user_and_changes_nothing(changes, told):
    talk = admin()
    assert alter(talk, *changes) == told
    assert talk.access.users["al"] is AL
    assert talk.access.version == 0


def test_of_a_user_all_or_nothing_is_changed_and_the_others_are_not_hindered():
    talk = admin()
    told = alter(talk, put("al", mechanism=1), put("al", mechanism=2, iterations=1), put("bo"))
    assert told == {"al": (93, "Too few iterations"), "bo": (0, None)}
    assert talk.access.users["al"] is AL
    assert talk.access.users["bo"].scram[SHA_256] != BO.scram[SHA_256]


@pytest.mark.parametrize("name", ["a\nb", "x" * 256, "*"])
def test_a_name_that_no_user_may_have(name):
    [(code, text)] = alter(admin(), put(name)).values()
    assert code == 93
    assert "is not allowed" in text


def test_the_last_administrator_keeps_a_password():
    talk = admin((AL, ROOT, CARD))
    assert alter(talk, drop("root", 1)) == {"root": (0, None)}
    [(code, text)] = alter(talk, drop("root", 2)).values()
    assert code == 44
    assert "must have a password" in text
    talk = admin((ROOT, KeptUser("two", ROOT.scram, (ADMINISTRATOR,))))
    assert alter(talk, drop("root", 1), drop("root", 2)) == {"root": (0, None)}


def test_the_first_user_is_not_made_by_kafkas_tools():
    talk = Stranger(users=())
    [(code, text)] = alter(talk, put("al")).values()
    assert code == 44
    assert "logstore user add" in text
    assert describe(talk) == {}


def test_who_may_not_alter_the_cluster_is_refused():
    talk = Stranger()
    talk.log_in()
    assert alter(talk, put("bo"), drop("al")).keys() == {"bo", "al"}
    assert {code for code, _ in alter(talk, put("bo"), drop("al")).values()} == {31}
    request = describe_user_scram_credentials.Request(None)
    assert talk.ask(50, 0, request, describe_user_scram_credentials.Response).error_code == 31


class Slow(Unkept):
    """Keeps when it is told to."""

    def __init__(self, users):
        super().__init__(KeptAccess(users=users))
        self.keepings = []

    def change(self, keep=(), forget=()):
        self.keepings.append(Keeping())
        return self.keepings[-1]


def slow(users=(AL, ROOT)):
    talk = admin(users)
    keeper = Slow(users)
    talk.access._keeper = keeper
    return talk, keeper


def ask(talk, *upsertions):
    return talk.say(51, 0, alter_user_scram_credentials.Request([], upsertions))


def test_not_all_administrators_lose_their_passwords_in_one_request():
    other = replace(ROOT, name="other")
    talk = admin((AL, ROOT, other, CARD, replace(ROOT, name="off", redis="off")))
    both = [drop(name, mechanism) for name in ("other", "root") for mechanism in (1, 2)]
    told = alter(talk, *both, drop("al"))
    assert told == {"other": (0, None), "root": (44, LAST_TO_LEAD), "al": (0, None)}
    assert talk.access.users["root"] == ROOT


def test_not_all_administrators_lose_their_passwords_by_two_requests_at_one_time():
    talk, keeper = slow((ROOT, replace(ROOT, name="other")))
    beside = Stranger(beside=talk)
    beside.log_in(b"\0root\0key")
    both = [drop("other", 1), drop("other", 2)]
    talk.say(51, 0, alter_user_scram_credentials.Request(both, []))
    told = alter(beside, drop("root", 1), drop("root", 2))
    assert told == {"root": (44, LAST_TO_LEAD)}
    keeper.keepings[0].finish(None)
    assert talk.access.users["root"].scram


def test_it_is_answered_when_it_is_durable():
    talk, keeper = slow()
    ask(talk, put("new"))
    assert talk.out() == b""
    assert "new" not in talk.access.users
    keeper.keepings[0].finish(None)
    assert len(talk.replies()) == 1
    assert "new" in talk.access.users


def test_what_could_not_be_kept_is_told():
    talk, keeper = slow()
    ask(talk, put("new"), put("al", iterations=1))
    keeper.keepings[0].finish(StorageFull("no space is left"))
    [(_, body)] = talk.replies()
    answer = talk.read(51, 0, alter_user_scram_credentials.Response, body)
    assert [(it.user, it.error_code, it.error_message) for it in answer.results] == [
        ("new", 56, "no space is left"),
        ("al", 93, "Too few iterations"),
    ]


def test_two_keys_of_one_user_that_are_set_at_one_time_are_both_kept():
    talk, keeper = slow()
    other = Stranger(beside=talk)
    other.log_in(b"\0root\0key")
    ask(talk, put("new", mechanism=1))
    ask(other, put("new", mechanism=2))
    for keeping in keeper.keepings:
        keeping.finish(None)
    assert set(talk.access.users["new"].scram) == {SHA_256, SHA_512}


def test_a_thousand_users_in_one_request():
    talk = admin()
    one = put("x")
    users = [
        alter_user_scram_credentials.ScramCredentialUpsertion(
            f"user {n}", 1, 4096, b"salt", one.salted_password
        )
        for n in range(1000)
    ]
    assert set(alter(talk, *users).values()) == {(0, None)}
    assert len(describe(talk)) == 1003
