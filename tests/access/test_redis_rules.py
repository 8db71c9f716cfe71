"""Redis's rules of users: the grammar, what is kept of it, what they allow, against bits as Redis
has them."""

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.access.redis_grants import (
    COMMAND,
    Called,
    Compiled,
    Denied,
    Named,
    allows,
    allows_all,
    allows_some,
    compiled,
    is_off,
)
from logstore.access.redis_rules import (
    AFTER_ALL,
    BAD_HASH,
    EVERYTHING,
    NO_RULES,
    OF_SUBCOMMAND,
    SYNTAX,
    TOO_LONG,
    UNKNOWN,
    BadModifier,
    PasswordChange,
    RedisRules,
    changed,
    parse,
)
from logstore.access.resources import ALTER, CHANNEL, DELETE, DESCRIBE, KEY, READ, TOPIC, WRITE

HASH: Final = "ab" * 32
# What there is for these tests: of each command its categories, and its subcommands.
TABLE: Final[dict[str, tuple[set[str], dict[str, set[str]]]]] = {
    "get": ({"@read", "@fast"}, {}),
    "set": ({"@write", "@slow"}, {}),
    "select": ({"@connection", "@fast"}, {}),
    "publish": ({"@pubsub", "@fast"}, {}),
    "config": ({"@slow"}, {"get": {"@admin", "@slow"}, "set": {"@admin", "@dangerous", "@fast"}}),
}


def known(name: str) -> dict[str, set[str]] | None:
    found = TABLE.get(name)
    return None if found is None else found[1]


def rules_of(*modifiers: str, rules: RedisRules | None = None) -> RedisRules:
    return changed(rules or RedisRules(), [it.encode() for it in modifiers], known)[0]


def called(name: str, argument: str = "") -> Called:
    parent, _, sub = name.partition("|")
    categories, subcommands = TABLE[parent]
    return Called(name, frozenset(categories | (subcommands[sub] if sub else set())), argument)


# What commands are allowed


class Bits:
    """Redis's own way: a bit for each command, and first arguments beside."""

    def __init__(self) -> None:
        self.bits: set[str] = set()
        self.arguments: dict[str, set[str]] = {}

    def _set(self, name: str, allow: bool) -> None:
        """Of a command with its subcommands, or of one of these."""
        of_it = {name, *(f"{name}|{sub}" for sub in TABLE.get(name, ({}, {}))[1])}
        self.bits = self.bits | of_it if allow else self.bits - of_it
        self.arguments.pop(name, None)

    def say(self, rule: str) -> None:
        allow, name = rule[0] == "+", rule[1:]
        if name == "@all":
            every = {f"{it}|{sub}" for it, (_, subs) in TABLE.items() for sub in subs}
            self.bits, self.arguments = ({*TABLE, *every} if allow else set()), {}
        elif name.startswith("@"):
            for command, (categories, subcommands) in TABLE.items():
                if name in categories:
                    self._set(command, allow)
                for sub, more in subcommands.items():
                    if name in more:
                        self._set(f"{command}|{sub}", allow)
        elif "|" in name and not TABLE[name.partition("|")[0]][1]:
            command, _, argument = name.partition("|")
            self.arguments.setdefault(command, set()).add(argument)
        else:
            self._set(name, allow)

    def allows(self, name: str, argument: str) -> bool:
        return name in self.bits or argument in self.arguments.get(name, ())


RULES: Final = [
    *(f"{sign}{it}" for sign in "+-" for it in
      ("@all", "@read", "@write", "@slow", "@fast", "@admin", "@connection", "@pubsub",
       "@dangerous", *TABLE, "config|get", "config|set")),
    "+select|0", "+select|1", "+get|a",
]  # fmt: skip
ASKED: Final = [
    ("get", "a"), ("get", "b"), ("get", "a|b"), ("set", "a"), ("select", "0"), ("select", "1"),
    ("publish", "a"), ("config|get", ""), ("config|set", ""),
]  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(RULES), max_size=8))
def test_the_last_rule_that_fits_decides_as_bits_do(words: list[str]) -> None:
    rules, bits = rules_of(*words), Bits()
    for word in words:
        bits.say(word)
    for form in (rules, parse(rules.text())):
        asked = Compiled(form)
        for name, argument in ASKED:
            allowed = asked.denied(called(name, argument)) is None
            assert allowed == bits.allows(name, argument), (words, name, argument)


def test_what_is_said_again_stands_once_and_at_the_end() -> None:
    rules = rules_of("+config|set", "+GET", "+select|0", "-config", "-get", "+@read", "+@READ")
    assert rules.root.command_words == "-@all +select|0 -config -get +@read"
    assert rules_of("-@all", rules=rules).root.command_words == "-@all"
    assert rules_of("allcommands", "-get").root.command_words == "+@all -get"


# Keys, channels, selectors


def test_a_pattern_of_psubscribe_must_be_literally_one_that_is_granted() -> None:
    asked = Compiled(rules_of("&news.*", "&a?c", "+@all"))
    for name, pattern, allowed in [
        (b"news.it", False, True), (b"news.*", True, True), (b"news.i*", True, False),
        (b"news.it", True, False), (b"abc", False, True), (b"a?c", True, True),
        (b"a", False, False),
    ]:  # fmt: skip
        named = Named(CHANNEL, name, True, False, pattern)
        assert (asked.denied(called("publish"), [named]) is None) == allowed, (name, pattern)


def test_keys_are_read_and_written_as_their_patterns_say() -> None:
    asked = Compiled(rules_of("%R~r*", "%w~w*", "%rW~b*", "~all", "+@all"))
    told = {
        (name, flags): asked.denied(called("get"), [Named(KEY, name, "R" in flags, "W" in flags)])
        for name in (b"r1", b"w1", b"b1", b"all", b"x")
        for flags in ("R", "W", "RW", "")
    }
    allowed = {it for it, denied in told.items() if denied is None}
    assert allowed == {
        (b"r1", "R"), (b"r1", ""), (b"w1", "W"), (b"w1", ""),
        *((name, flags) for name in (b"b1", b"all") for flags in ("R", "W", "RW", "")),
    }  # fmt: skip
    assert rules_of("%R~a", "~b", "%W~a").root.key_words == "~a ~b"


def test_one_selector_must_allow_all_of_a_command() -> None:
    asked = Compiled(rules_of("+get", "~a", "(+set ~b &b)", "(+publish", "&c", "~c)"))

    def denied(name: str, *names: tuple[str, bytes]) -> Denied | None:
        return asked.denied(called(name), [Named(kind, it, True, True) for kind, it in names])

    assert denied("get", (KEY, b"a")) is None
    assert denied("set", (KEY, b"b")) is None
    assert denied("set", (KEY, b"a")) == Denied(KEY, 0)
    assert denied("set", (KEY, b"b"), (KEY, b"a")) == Denied(KEY, 1)
    assert denied("set", (KEY, b"b"), (CHANNEL, b"c")) == Denied(CHANNEL, 1)
    assert denied("select") == Denied(COMMAND)


def test_a_name_that_would_hold_up_everyone_is_not_allowed() -> None:
    asked = Compiled(rules_of("&*a*a*a*b", "&news.*", "+@all"))
    long = Named(CHANNEL, b"a" * (1 << 20), False, True)
    assert asked.denied(called("publish"), [long]) == Denied(CHANNEL, 0)
    assert asked.denied(called("publish"), [long._replace(name=b"news." + long.name)]) is None


# In the words of the other rules


def test_a_channel_is_granted_for_what_the_selector_can_do_with_it() -> None:
    text = rules_of("-@all", "&a", "+publish", "(+@all &b*)").text()
    assert allows(text, WRITE, CHANNEL, "a") == "Redis rule &a"
    assert allows(text, READ, CHANNEL, "a") is None
    assert allows(text, DESCRIBE, CHANNEL, "a") == "Redis rule &a"
    assert allows(text, READ, CHANNEL, "b1") == "Redis rule &b*"
    assert allows(text, ALTER, CHANNEL, "b1") is None
    assert allows(text, READ, TOPIC, "b1") is None
    assert allows(text, DESCRIBE, CHANNEL, "c") is None


def test_all_channels_of_a_pattern_are_granted_by_the_same_pattern_or_by_all() -> None:
    text = rules_of("-@all", "&a*", "+publish", "(+@all &b*)").text()
    assert allows_all(text, READ, CHANNEL, "b*") == "Redis rule &b*"
    for operation, kind, pattern in [
        (READ, CHANNEL, "a*"), (READ, CHANNEL, "b1*"), (READ, CHANNEL, "*"),
        (WRITE, CHANNEL, "b*"), (READ, KEY, "b*"),
    ]:  # fmt: skip
        assert allows_all(text, operation, kind, pattern) is None
    assert allows_all(EVERYTHING.text(), READ, CHANNEL, "b1*") == "Redis rule &*"


def test_some_channel_or_key_is_granted() -> None:
    text = rules_of("-@all", "&a", "+publish", "~k").text()
    assert allows_some(text, WRITE, CHANNEL)
    assert not allows_some(text, READ, CHANNEL)
    assert allows_some(text, READ, KEY)
    assert not allows_some(text, READ, TOPIC)
    assert not allows_some(NO_RULES.text(), WRITE, CHANNEL)
    assert allows(text, DELETE, KEY, "k") == "Redis rule ~k"


def test_names_that_are_no_text_are_asked_for_as_they_are() -> None:
    text = rules_of("allchannels", "+@all").text()
    assert allows(text, READ, CHANNEL, b"\xff".decode(errors="surrogateescape"))


# The grammar


def test_a_new_user_may_do_nothing() -> None:
    assert RedisRules().text() == "off sanitize-payload resetchannels -@all"
    assert rules_of("on", "nopass", "~*", "&*", "+@all", "reset") == RedisRules()
    assert EVERYTHING.text() == "on sanitize-payload ~* &* +@all"
    assert NO_RULES.text() == "on sanitize-payload resetchannels +@all"


def test_everything_is_shown_as_redis_shows_it() -> None:
    rules = rules_of("ON", "NoPass", "SKIP-sanitize-payload", "~a", "%R~B", "&c*", "&d", "+GET",
                     "(~x +@read)", "(", "allkeys", "&y", ")")  # fmt: skip
    assert rules.text() == (
        "on nopass skip-sanitize-payload ~a %R~B resetchannels &c* &d -@all +get "
        "(~x resetchannels -@all +@read) (~* resetchannels &y -@all)"
    )
    assert parse(rules.text()) == rules
    assert rules_of("clearselectors", "resetkeys", "RESETCHANNELS", rules=rules).text() == (
        "on nopass skip-sanitize-payload resetchannels -@all +get"
    )
    assert RedisRules(True).text([HASH]) == f"on sanitize-payload #{HASH} resetchannels -@all"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["foo"], SYNTAX), (["+nope"], UNKNOWN), (["-nope"], UNKNOWN), (["+@nope"], UNKNOWN),
        (["+config|nope"], UNKNOWN), (["-config|nope"], UNKNOWN), (["-select|0"], UNKNOWN),
        (["+config|get|x"], OF_SUBCOMMAND), (["+select|"], SYNTAX), (["+"], UNKNOWN),
        (["+|x"], UNKNOWN), (["+@"], UNKNOWN), (["%~a"], SYNTAX), (["%X~a"], SYNTAX),
        (["%R"], SYNTAX), (["%RR~a"], SYNTAX), (["~a b"], SYNTAX), (["&a b"], SYNTAX),
        (["&a\0"], SYNTAX), (["~\x1b"], SYNTAX), (["#ab"], BAD_HASH), (["!" + "A" * 64], BAD_HASH),
        (["allkeys", "~a"], AFTER_ALL.format("keys", "patterns")),
        (["&*", "&a"], AFTER_ALL.format("channels", "channels")),
        (["(on)"], SYNTAX), (["(~a) +get)"], SYNTAX), (["(+nope)"], UNKNOWN),
        ([f"&{number:0>99}" for number in range(400)], TOO_LONG),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_redis_s_words(words: list[str], reason: str) -> None:
    with pytest.raises(BadModifier) as caught:
        rules_of("on", *words)
    assert caught.value.reason == reason
    shown = words[-1].encode()
    assert caught.value.text == b"Error in ACL SETUSER modifier '%b': %b" % (shown, reason.encode())


def test_a_selector_that_never_ends_is_named() -> None:
    with pytest.raises(BadModifier) as caught:
        rules_of("on", "(~a", "+get")
    assert caught.value.text == b"Unmatched parenthesis in acl selector starting at '(~a'."


def test_no_bytes_but_text_are_taken() -> None:
    with pytest.raises(BadModifier, match=SYNTAX):
        changed(RedisRules(), [b"&\xff"], known)


def test_passwords_come_apart_and_in_their_order() -> None:
    words = [b">a\xff", b"#" + HASH.encode(), b"<b", b"nopass", b"!" + HASH.encode(), b">"]
    rules, passwords = changed(RedisRules(), words, known)
    assert [it.sign for it in passwords] == [">", "#", "<", "", "!", ">"]
    assert passwords[0] == PasswordChange(">", b"a\xff")
    assert not rules.nopass
    assert changed(rules, [b"nopass", b"!" + HASH.encode()], known)[0].nopass


def test_no_password_stands_in_an_error() -> None:
    assert BadModifier(b"<secret", "x").text == b"Error in ACL SETUSER modifier '<': x"


MODIFIERS: Final = st.lists(
    st.sampled_from(
        ["on", "off", "nopass", "resetpass", "~a", "~(b)", "%R~c", "%W~c", "allkeys", "resetkeys",
         "&a", "&b)", "allchannels", "resetchannels", "reset", "clearselectors",
         "skip-sanitize-payload", "(~k +get)", "(&k", "+@all -set)", "()", "", *RULES]
    ),
    max_size=10,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(MODIFIERS)
def test_what_is_kept_reads_as_what_was_said(words: list[str]) -> None:
    try:
        rules = rules_of(*words)
    except BadModifier:
        return
    assert parse(rules.text()) == rules
    assert parse(rules.text()).text() == rules.text()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=6), max_size=6))
def test_any_bytes_are_rules_or_are_refused(words: list[bytes]) -> None:
    try:
        rules, _ = changed(RedisRules(), words, known)
    except BadModifier:
        return
    assert parse(rules.text()) == rules


def test_what_can_not_be_read_allows_nothing_and_nobody() -> None:
    for text in ("on foo +@all", "on (~a", "on ~a\udcff"):
        assert compiled(text).denied(called("get")) == Denied(COMMAND)
        assert is_off(text)
    assert not is_off(None)
    assert not is_off("on ~* +@all")


def test_rules_are_compiled_once() -> None:
    first: Any = compiled("on ~* &* +@all")
    assert compiled("on ~* &* +@all") is first
