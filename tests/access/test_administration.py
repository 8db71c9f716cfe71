"""What people may do with users and rules, before anything is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.access import administration
from logstore.access.access import Access, Unkept
from logstore.access.identity import Identity
from logstore.access.resources import KINDS, OPERATIONS
from logstore.access.scram_keys import HASHES, key_of, keys_of
from logstore.errors import InvalidName, NoneOfThatName, Refused, UnknownUser, UserExists
from logstore.kept.keeping import Keeping
from logstore.kept.users import (
    SHA_256,
    KeptAccess,
    KeptPermission,
    KeptQuota,
    KeptRule,
    KeptTopicPermission,
    KeptUser,
    ScramKey,
)

KEYS = {SHA_256: ScramKey(b"salt", 4096, b"stored", b"server")}
ANA = KeptUser("ana", KEYS, ("administrator",), "+@all", ("ab" * 32,))
MAY_READ = KeptRule("ana", "read", "topic", "t")


def access(*users, **more):
    return Access(Unkept(KeptAccess(users or (ANA,), **more)))


def test_a_user_is_made_once():
    known = access()
    [made] = administration.new_user(known, "bob", KEYS, ["management", "management"]).keep
    assert made == KeptUser("bob", KEYS, ("management",))
    with pytest.raises(UserExists, match="user 'ana' already exists"):
        administration.new_user(known, "ana", KEYS)


@pytest.mark.parametrize(
    "name", ["*", "ANONYMOUS", "", "a\0b", "a\nb", "\x7f", "\udc80", "é" * 128]
)
def test_a_name_that_no_user_can_have(name):
    with pytest.raises(InvalidName) as refused:
        administration.new_user(access(), name, KEYS)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "name", ["a", "é" * 127, "CN=al ice,O=Acme\\, Inc", "a:b*c'd\"e", "User:x"]
)
def test_names_with_odd_characters(name):
    assert administration.check_user(name) == name


def test_a_new_password_ends_all_the_others():
    [after] = administration.new_password(access(), "ana", {}).keep
    assert after == KeptUser("ana", {}, ANA.tags, ANA.redis)


def test_tags_are_replaced_and_nothing_else():
    [after] = administration.new_tags(access(), "ana", ["monitoring"]).keep
    assert after == KeptUser("ana", KEYS, ("monitoring",), ANA.redis, ANA.weak_sha256)
    for tag in ("", "a b", "é", "x" * 65, "\x1b"):
        with pytest.raises(Refused, match="is not allowed"):
            administration.new_tags(access(), "ana", [tag])


def test_an_unknown_user_is_named_with_the_nearest():
    for act in (
        lambda known: administration.new_password(known, "anna", KEYS),
        lambda known: administration.new_tags(known, "anna", []),
        lambda known: administration.without_user(known, "anna"),
        lambda known: administration.without_permission(known, "anna", "/"),
    ):
        with pytest.raises(UnknownUser, match=r"no user 'anna' \(did you mean ana\?\)"):
            act(access())


def test_a_user_who_goes_takes_all_along_that_names_him():
    mine = [
        MAY_READ,
        KeptPermission("ana", "/", "", "", ".*"),
        KeptTopicPermission("ana", "/", "x", "", ""),
        KeptQuota((("client-id", None), ("user", "ana")), {"producer_byte_rate": 1.0}),
    ]
    others = [
        KeptRule("bob", "read", "topic", "t"),
        KeptPermission("bob", "/", "", "", ""),
        KeptTopicPermission("bob", "/", "x", "", ""),
        KeptQuota((("user", None),), {"producer_byte_rate": 1.0}),
    ]
    rows = [[one, other] for one, other in zip(mine, others, strict=True)]
    names = ("rules", "permissions", "topic_permissions", "quotas")
    known = access(ANA, KeptUser("bob"), **dict(zip(names, rows, strict=True)))
    assert list(administration.without_user(known, "ana").forget) == [ANA, *mine]


class Slow:
    """A keeper whose disk takes its time."""

    def __init__(self, *users):
        self.load = lambda: KeptAccess(users)
        self.keepings = []

    def change(self, keep=(), forget=()):
        self.keepings.append(Keeping())
        return self.keepings[-1]

    def sync(self):
        for keeping in self.keepings:
            keeping.finish(None)


def test_a_change_counts_on_those_that_are_on_their_way():
    keeper = Slow(ANA, KeptUser("root", tags=("administrator",)))
    known = Access(keeper)
    known.change(*administration.new_tags(known, "ana", []))
    [after] = administration.new_password(known, "ana", {}).keep
    assert after.tags == ()
    known.change(*administration.new_user(known, "bob", KEYS))
    with pytest.raises(UserExists):
        administration.new_user(known, "bob", {}, ["administrator"])
    permission = KeptPermission("ana", "shop", "", "", ".*")
    known.change([MAY_READ, KeptPermission("ana", "shop", "", "", ""), permission])
    assert list(administration.without_vhost(known, "shop").forget) == [permission]
    gone = administration.without_user(known, "ana")
    assert list(gone.forget) == [KeptUser("ana", KEYS, (), ANA.redis, ANA.weak_sha256), MAY_READ,
                                 permission]  # fmt: skip
    known.change(*gone)
    for act in (
        lambda: administration.new_password(known, "ana", KEYS),
        lambda: administration.new_tags(known, "ana", []),
        lambda: administration.new_permission(known, permission),
        lambda: administration.without_user(known, "ana"),
    ):
        with pytest.raises(UnknownUser, match=r"no user 'ana'$"):
            act()
    known.change(*administration.new_user(known, "ana", {}))
    keeper.sync()
    assert known.users["ana"] == KeptUser("ana")
    assert (known.rules, known.permissions) == ((), {})


def test_a_rule_is_kept_with_its_address_as_doors_see_it():
    rule = KeptRule("ana", "read", "topic", "t", host="2001:DB8:0:0::1")
    assert [it.host for it in administration.new_rules([rule]).keep] == ["2001:db8::1"]


@pytest.mark.parametrize(("name", "kept"), [
    ("mail", "mail"), ("/:mail", "mail"), ("/:a:b", "/:a:b"), ("a:b", "a:b"),
    ("a%3Ab:q", "a%3Ab:q"),
    ("50%:q", "50%25:q"), ("50%25:q", "50%25:q"), ("*", "*"), ("50%", "50%"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["queue", "exchange"])
def test_a_rule_is_kept_with_the_name_that_is_asked_for(kind, name, kept):
    rule = KeptRule("ana", "read", kind, name)
    [made] = administration.new_rules([rule]).keep
    assert made.name == kept
    known = access(KeptUser("ana"), rules=[made])
    assert administration.without_rules(known, [rule]).forget == [made]
    check = administration.check(known, Identity("ana", ""), "read", kind, name, lambda it: False)
    assert check.allowed


@pytest.mark.parametrize(
    ("kind", "pattern"), [("queue", "prefix"), ("queue", "glob"), ("topic", "literal")]
)
def test_the_name_of_another_rule_is_kept_as_it_is(kind, pattern):
    rule = KeptRule("ana", "read", kind, "/:50%", pattern)
    assert administration.new_rules([rule]).keep == [rule]


WRONG = {
    "kind": "topics",
    "operation": "reed",
    "pattern": "regex",
    "host": "10.0.0.0/8",
    "name": "a\0b",
    "user": "a\0b",
}


@pytest.mark.parametrize("field", WRONG)
def test_a_rule_that_cannot_be_is_refused_in_one_line(field):
    facts = {"user": "ana", "operation": "read", "kind": "topic", "name": "t"} | {
        field: WRONG[field]
    }
    with pytest.raises(Refused) as refused:
        administration.new_rules([KeptRule(**facts)])
    assert str(refused.value).isprintable()
    if field in ("kind", "operation"):
        assert "did you mean" in str(refused.value)


@pytest.mark.parametrize("kind", KINDS)
def test_an_operation_is_taken_where_it_means_something(kind):
    name = "kafka-cluster" if kind == "cluster" else "x"
    for operation in OPERATIONS:
        rule = KeptRule("ana", operation, kind, name)
        if operation in administration.OPERATIONS_OF[kind]:
            assert administration.new_rules([rule]).keep == [rule]
        else:
            with pytest.raises(Refused, match=f"does not apply to a {kind}"):
                administration.new_rules([rule])


def test_there_is_one_cluster():
    for name, pattern in (("other", "literal"), ("*", "literal"), ("kafka", "prefix")):
        with pytest.raises(Refused, match="must name it kafka-cluster"):
            administration.new_rules([KeptRule("ana", "alter", "cluster", name, pattern)])


def test_of_two_rules_about_an_object_one_is_removed_and_the_other_stays():
    other = KeptRule("bob", "read", "topic", "t")
    denied = KeptRule("ana", "read", "topic", "t", allow=False)
    known = access(rules=[MAY_READ, other, denied])
    assert list(administration.without_rules(known, [MAY_READ]).forget) == [MAY_READ, denied]
    with pytest.raises(NoneOfThatName, match=r"no rule for ana about write on topic:t \(literal\)"):
        administration.without_rules(known, [KeptRule("ana", "write", "topic", "t")])


def test_what_is_no_regular_expression_is_refused():
    for text in ("(", r"(a)\1", "(?=a)", "((a{100}){100}){100}", "x" * 5000, "\udc80"):
        for permission in (
            KeptPermission("ana", "/", text, "", ""),
            KeptTopicPermission("ana", "/", "x", "", text),
        ):
            with pytest.raises(Refused) as refused:
                administration.new_permission(access(), permission)
            assert str(refused.value).isprintable()
    made = KeptPermission("ana", "/", "", "^a-.*$", ".*")
    assert administration.new_permission(access(), made).keep == [made]


def test_a_permission_that_is_not_there_cannot_be_taken_away():
    made = KeptPermission("ana", "/", "", "", "")
    known = access(permissions=[made])
    assert administration.without_permission(known, "ana", "/").forget == [made]
    with pytest.raises(NoneOfThatName, match="in virtual host 'b'"):
        administration.without_permission(known, "ana", "b")
    with pytest.raises(NoneOfThatName, match="at exchange 'x' in virtual host '/'"):
        administration.without_permission(known, "ana", "/", "x")


# Keys


def test_a_password_becomes_keys_with_salts_of_their_own():
    one, other = keys_of(b"pencil", 4096), keys_of(b"pencil", 4096)
    assert one.keys() == HASHES.keys()
    salts = {it.salt for keys in (one, other) for it in keys.values()}
    assert len(salts) == 4
    assert all(b"pencil" not in part for it in one.values() for part in (it.salt, it.stored_key))


def test_keys_are_those_of_the_rfc():
    """RFC 7677, 3."""
    import base64
    import hashlib
    import hmac

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    key = key_of(SHA_256, hashlib.pbkdf2_hmac("sha256", b"pencil", salt, 4096), salt, 4096)
    said = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(key.server_key, said, "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.long
@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_is_a_name_or_is_refused_in_one_line(user, name):
    rule = KeptRule(user, "read", "queue", name)
    try:
        [kept] = administration.new_rules([rule]).keep
    except InvalidName as error:
        kept, shown = None, str(error)
    assert kept == rule or shown.isprintable()
