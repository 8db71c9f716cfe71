"""What is kept of users, rules, permissions and quotas."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import logstore
from logstore.access.access import ADMINISTRATOR
from logstore.access.identity import OWNER, Identity
from logstore.amqp import fields
from logstore.errors import InvalidName, ReadOnly, Refused
from logstore.kept import user_rows
from logstore.kept.users import (
    GLOB,
    PREFIX,
    SHA_256,
    SHA_512,
    KeptAccess,
    KeptPermission,
    KeptQuota,
    KeptRule,
    KeptTopicPermission,
    KeptUser,
    ScramKey,
)
from logstore.storage import users

KEY = ScramKey(b"salt", 8192, b"\0stored\xff", b"server")
ROOT = KeptUser("root", {SHA_256: KEY}, (ADMINISTRATOR,))
AL = KeptUser(
    "al ü", {SHA_256: KEY, SHA_512: ScramKey(b"", 4096, b"a", b"b")}, ("management", "x"),
    "on &news.* -@all +publish", ("ab" * 32,),
)  # fmt: skip
RULE = KeptRule("al ü", "read", "topic", "orders\n\udcff", PREFIX, False, "10.0.0.1")
OTHER = KeptRule("*", "all", "channel", "*" * 9000, GLOB)
PERMISSION = KeptPermission("al ü", "v" * 255, "", ".*", "^a\nb$")
TOPICS = KeptTopicPermission("al ü", "/", "e" * 255, "{username}.*", "")
QUOTA = KeptQuota((("client-id", None), ("user", "al ü")), {"producer_byte_rate": 1024.5})
ALL = (AL, ROOT, RULE, OTHER, PERMISSION, TOPICS, QUOTA)


@pytest.fixture
def path(tmp_path):
    with logstore.open(tmp_path / "data"):
        return tmp_path / "data"


@pytest.fixture
def environment(path):
    with logstore.open(path) as store:
        yield store.internals().groups.environment


def change(environment, keep=(), forget=()):
    environment.transact(users.TABLES, lambda it: users.change(it, keep, forget))


def facts(found):
    return {
        *map(repr, found.users), *map(repr, found.rules), *map(repr, found.permissions),
        *map(repr, found.topic_permissions), *map(repr, found.quotas),
    }  # fmt: skip


def kept(environment):
    return facts(users.load(environment))


def test_a_new_store_has_none_and_looking_makes_no_table(environment):
    assert users.load(environment) == KeptAccess()
    assert not environment.has(users.ACCESS)


def test_what_is_kept_is_there_again(environment):
    change(environment, ALL)
    assert users.load(environment).damaged == []
    assert kept(environment) == set(map(repr, ALL))


def test_what_is_forgotten_is_gone_and_nothing_else(environment):
    change(environment, ALL)
    for number, fact in enumerate(ALL):
        change(environment, (), [fact])
        assert kept(environment) == set(map(repr, ALL[number + 1 :]))


def test_one_of_two_rules_of_a_resource_stays_when_the_other_goes(environment):
    rules = [KeptRule("al", it, "topic", "orders") for it in ("read", "write")]
    denied = KeptRule("al", "read", "topic", "orders", allow=False)
    change(environment, [*rules, denied])
    change(environment, (), [rules[0]])
    assert kept(environment) == {repr(rules[1]), repr(denied)}


def test_keeping_the_same_again_replaces_it(environment):
    change(environment, ALL)
    change(environment, [RULE, KeptUser("root"), KeptPermission("al ü", "v" * 255, "a", "b", "c"),
                         KeptQuota(QUOTA.entity, {})])  # fmt: skip
    found = users.load(environment)
    assert len(found.rules) == 2
    assert KeptUser("root") in found.users
    assert [it.configure for it in found.permissions] == ["a"]
    assert [it.values for it in found.quotas] == [{}]


def test_a_change_is_made_whole_or_not_at_all(environment):
    change(environment, [AL])
    with pytest.raises(InvalidName):
        change(environment, [ROOT, KeptUser("")], [AL])
    assert kept(environment) == {repr(AL)}


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb", "\0", "*", "\ud800", "a\x1b[0m"])
def test_names_that_no_user_may_have(environment, name):
    with pytest.raises(InvalidName, match="user name"):
        change(environment, [KeptUser(name)])


@pytest.mark.parametrize("name", ["a b", "CN=al,O=x", "ü" * 127, "default", "\N{SNOWMAN}"])
def test_names_that_a_user_may_have(environment, name):
    change(environment, [KeptUser(name)])
    assert [it.name for it in users.load(environment).users] == [name]


def test_a_rule_of_what_is_no_text_is_refused(environment):
    with pytest.raises(InvalidName, match="not text"):
        change(environment, [KeptRule("al", "read", "topic", "a\ud800")])


def rows(environment):
    return dict(environment.items(users.ACCESS))


@pytest.mark.parametrize("fact", ALL, ids=[f"{type(it).__name__}-{n}" for n, it in enumerate(ALL)])
def test_a_row_with_any_byte_changed_is_damaged_and_named(environment, fact):
    change(environment, [ROOT, fact])
    key, value = next(
        it for it in rows(environment).items() if repr(user_rows.parse(*it)) == repr(fact)
    )
    for at in {0, 3, 4, len(value) // 2, len(value) - 1}:
        changed = value[:at] + bytes([value[at] ^ 0x20]) + value[at + 1 :]
        environment.commit([(users.ACCESS, key, changed)])
        found = users.load(environment)
        (damage,) = found.damaged
        assert repr(fact) not in facts(found)
        assert "is damaged: the checksum does not match" in str(damage)
        assert "catalog.mdb" in str(damage)
        assert damage.forbids == isinstance(fact, KeptRule | KeptTopicPermission)
        if isinstance(fact, KeptUser):
            assert repr(fact.name) in str(damage)


def test_a_whole_row_at_the_place_of_another_is_damaged(environment):
    change(environment, [ROOT, AL])
    table = rows(environment)[b"user\0root"][4:]
    wrong = user_rows.sealed(b"user\0mallory", table)
    environment.commit([(users.ACCESS, b"user\0mallory", wrong)])
    (damage,) = users.load(environment).damaged
    assert "stands at another one's place" in str(damage)


@pytest.mark.parametrize("field", ["allow", "host", "user"])
def test_a_row_that_lacks_a_field_is_damaged(environment, field):
    change(environment, [RULE])
    ((key, value),) = rows(environment).items()
    row, _ = fields.read_table(value[4:], 0)
    del row[field]
    environment.commit([(users.ACCESS, key, user_rows.sealed(key, fields.table(row)))])
    (damage,) = users.load(environment).damaged
    assert damage.forbids
    assert "it has the fields" in str(damage)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([b"user", b"rule", b"permission", b"topic-permission", b"quota", b"new"]),
    data=st.binary(max_size=60),
    row=st.dictionaries(
        st.sampled_from(["name", "scram", "tags", "entity", "values", "user"]),
        st.one_of(st.none(), st.text(max_size=3), st.integers(0, 9), st.just({"a": {"b": 1}})),
    ),
    sealed=st.booleans(),
)  # fmt: skip
def test_rows_of_any_bytes_keep_nothing_else_from_being_read(environment, kind, data, row, sealed):
    change(environment, [ROOT])
    key = kind + b"\0" + data[:9]
    value = user_rows.sealed(key, fields.table(row)) if sealed else data
    environment.commit([(users.ACCESS, key, value)])
    found = users.load(environment)
    assert ROOT in found.users
    for damage in found.damaged:
        assert "\n" not in str(damage)
    change(environment, (), found.damaged)
    assert users.load(environment).damaged == []
    assert ROOT in users.load(environment).users


def spoil(environment, kind):
    for key, value in rows(environment).items():
        if key.startswith(kind + b"\0"):
            environment.commit([(users.ACCESS, key, value[:-1] + bytes([value[-1] ^ 1]))])


def test_a_damaged_rule_leaves_administrators_alone_until_it_is_removed(path):
    with logstore.open(path) as store:
        access = store.internals().access()
        granted = KeptRule("al", "read", "topic", "orders")
        access.change([ROOT, KeptUser("al"), granted, KeptRule("al", "write", "topic", "x")])
        al, root = access.rights(Identity("al", "")), access.rights(Identity("root", ""))
        assert al.may("read", "topic", "orders")
        spoil(store.internals().groups.environment, b"rule")
        access.change([granted])
        assert store.internals().access().damaged != ()
    with logstore.open(path) as store:
        access = store.internals().access()
        al, root = access.rights(Identity("al", "")), access.rights(Identity("root", ""))
        assert not al.may("read", "topic", "orders")
        assert al.decision("read", "topic", "orders").why == "a rule is damaged, and may forbid it"
        assert root.may("read", "topic", "orders")
        access.change(forget=access.damaged)
        assert access.damaged == ()
        assert al.may("read", "topic", "orders")


def test_a_row_that_was_set_anew_is_not_removed_as_damaged(environment, path):
    change(environment, [ROOT, PERMISSION])
    spoil(environment, b"permission")
    (damage,) = users.load(environment).damaged
    change(environment, [PERMISSION])
    change(environment, (), [damage])
    assert kept(environment) == {repr(ROOT), repr(PERMISSION)}


def test_a_store_whose_only_user_is_damaged_lets_nobody_in(path):
    with logstore.open(path) as store:
        store.internals().access().change([ROOT])
        spoil(store.internals().groups.environment, b"user")
        access = store.internals().access()
        assert access.required
        for who in (Identity("root", ""), Identity("", "127.0.0.1")):
            assert not access.rights(who).may("read", "topic", "orders")
        assert access.rights(OWNER).may("read", "topic", "orders")
        access.change([ROOT])
        assert access.damaged == ()
        assert access.rights(Identity("root", "")).may("read", "topic", "orders")


def test_damage_is_told_by_verify_and_status(path):
    with logstore.open(path) as store:
        store.internals().access().change(ALL)
        assert (store.status().users, store.status().damaged) == (2, ())
        for kind in (b"user", b"rule"):
            spoil(store.internals().groups.environment, kind)
        found = [it for report in store.verify() for it in report.findings]
        assert len(found) == 4
        assert all(it.path == str(path / "catalog.mdb") for it in found)
        assert "user 'al ü' is damaged" in " ".join(it.message for it in found)
        assert len(store.status().damaged) == 4


def test_two_changes_on_their_way_do_not_take_each_others_administrator(environment):
    from logstore.access.access import Access
    from logstore.kept.keeping import Keeping

    class Slow:
        def __init__(self):
            self.keepings = []

        def load(self):
            return KeptAccess(users=[ROOT, KeptUser("boss", tags=(ADMINISTRATOR,))])

        def change(self, keep=(), forget=()):
            self.keepings.append(Keeping())
            return self.keepings[-1]

    keeper = Slow()
    access = Access(keeper)
    access.change(forget=[ROOT])
    with pytest.raises(Refused, match="must remain"):
        access.change([KeptUser("boss")])
    access.change([KeptUser("new", tags=(ADMINISTRATOR,))])
    with pytest.raises(Refused, match="must remain"):  # the new one may fail to be kept
        access.change([KeptUser("boss")])
    for keeping in keeper.keepings:
        keeping.finish(None)
    access.change([KeptUser("boss")])
    assert set(access.users) == {"boss", "new"}


def test_a_process_that_does_not_write_the_store_changes_no_users(path):
    with logstore.open(path) as writer, logstore.open(path, "read") as store:
        writer.internals().access().change([ROOT])
        assert store.users() == {"root": (ADMINISTRATOR,)}
        keeping = store.internals().access().change([AL])
        assert isinstance(keeping.error, ReadOnly)
        assert writer.users() == {"root": (ADMINISTRATOR,)}


def test_a_backup_has_the_users_and_they_are_restored(tmp_path, path):
    from logstore.storage.disk import Disk
    from logstore.upkeep.backup import restore

    with logstore.open(path) as store:
        store.internals().access().change(ALL)
        list(store.backup(tmp_path / "copy"))
    list(restore(str(tmp_path / "copy"), str(tmp_path / "again"), Disk()))
    with logstore.open(tmp_path / "again") as store:
        assert kept(store.internals().groups.environment) == set(map(repr, ALL))
