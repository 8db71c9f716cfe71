"""From a certificate's subject to a user."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import InvalidSetting
from logstore.subject import certificate, distinguished_name, parse_rules

ACME = (
    (("countryName", "DE"),),
    (("stateOrProvinceName", "Berlin"),),
    (("organizationalUnitName", "Ops"), ("organizationName", "Acme, Inc")),
    (("commonName", "al ice"),),
    (("emailAddress", "a@b.c"),),
    (("userId", "u1"),),
)


def test_a_name_is_written_as_java_writes_it():
    """But for the value of a type without a word: Java writes #16056140622e63 there."""
    assert distinguished_name(ACME) == (
        r"UID=u1,1.2.840.113549.1.9.1=a@b.c,CN=al ice,OU=Ops+O=Acme\, Inc,ST=Berlin,C=DE"
    )


# What `new X500Principal(...).getName()` of Java 17 makes of these.
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a=b#c", r"a\=b\#c"),
        ('x;y<z>"', r"x\;y\<z\>\""),
        ("#hash", r"\#hash"),
        ("tab\tx\xe9\x01", "tab\tx\xe9\x01"),
        (" lead and trail ", r"\ lead and trail\ "),
        (" ", r"\ "),
        ("back\\slash+", r"back\\slash\+"),
        ("\0", r"\00"),
        ("", ""),
    ],
)
def test_what_would_read_otherwise_is_escaped(value, written):
    assert distinguished_name(((("commonName", value),),)) == f"CN={written}"


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_no_value_can_look_like_another_part(values):
    """Nor like two: whoever may choose his name must not choose his organization."""
    name = distinguished_name(tuple((("commonName", it),) for it in values))
    parts, at = 1, 0
    while at < len(name):
        parts += name[at] in ",+"
        at += 2 if name[at] == "\\" else 1
    assert parts == len(values)


def user(rules, subject="CN=Al,OU=Ops,O=Acme"):
    return parse_rules(rules).user(subject)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("DEFAULT", "CN=Al,OU=Ops,O=Acme"),
        ("", "CN=Al,OU=Ops,O=Acme"),
        ("  DEFAULT  ", "CN=Al,OU=Ops,O=Acme"),
        ("RULE:^CN=(.*?),.*$/$1/", "Al"),
        ("RULE:^CN=(.*?),.*$/$1/L", "al"),
        ("RULE:^CN=(.*?),.*$/$1/U", "AL"),
        ("RULE:CN=(.*?),OU=(.*?),O=(.*)/$1@$2.$3/L", "al@ops.acme"),
        ("RULE:CN=Al/x/, DEFAULT", "CN=Al,OU=Ops,O=Acme"),  # the whole of it, not its beginning
        ("RULE:CN=Al/x/", None),
        ("RULE:.*/first/,RULE:.*/second/", "first"),
        (r"RULE:.*/a\/b/", "a/b"),
        (r"RULE:CN=(\w+),.*/$1/", "Al"),
        ("RULE:.*//", None),  # nobody has an empty name
        ("RULE:CN=(x)?.*/$1/", None),  # a group that took no part is empty
        ("RULE:.*/$/", "$"),
        ("RULE:.*/$$x/", "$$x"),
    ],
)
def test_the_first_rule_that_fits_says_who_it_is(rules, expected):
    assert user(rules) == expected


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("default", "must be RULE:"),
        ("RULE:a", "must be RULE:"),
        ("RULE:a/b", "must be RULE:"),
        ("RULE:a/b/X", "must be RULE:"),
        ("RULE:a/b/LU", "must be RULE:"),
        ("DEFAULT DEFAULT", "must be RULE:"),
        ("DEFAULT,,DEFAULT", "must be RULE:"),
        ("RULE:a(/b/", "not a regular expression"),
        (r"RULE:(a)\1/b/", "not a regular expression"),
        ("RULE:a/$1/", "$1, and a has 0 groups"),
        ("RULE:(a)/$2/", "has 1 groups"),
    ],
)
def test_what_is_no_rule_is_refused_in_one_line(rules, why):
    with pytest.raises(InvalidSetting, match=r"^tls\.client\.user\.rules: ") as raised:
        parse_rules(rules)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_name_can_stall_a_rule():
    """RE2 has no backtracking: with Python's own this takes longer than the universe is old."""
    assert user("RULE:CN=(a*)*b/x/", "CN=" + "a" * 10_000) is None


def test_a_certificate_with_two_names_stands_for_neither_by_default():
    shown = {"subject": ((("commonName", "al"),), (("commonName", "root"),))}
    it = certificate(shown, parse_rules("DEFAULT"))
    assert (it.user, it.common_names) == ("CN=root,CN=al", ("al", "root"))
    assert certificate(shown, parse_rules("RULE:CN=([^,]*)/$1/")).user is None
    assert certificate({}, parse_rules("DEFAULT")).user is None


def test_the_other_names_of_a_certificate_are_there():
    shown = {"subject": ACME, "subjectAltName": (("DNS", "a.example"), ("email", "a@b.c"))}
    it = certificate(shown, parse_rules("RULE:.*CN=([^,]*).*/$1/"))
    assert it.alternative_names == (("DNS", "a.example"), ("email", "a@b.c"))
    assert it.user == "al ice"
