"""Headers exchanges: the rules of matching by class and value, and what a match costs."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from work_counted import lines_run

from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments, Field, comparable
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.headers_match import HeadersMatch
from logstore.broker.routing.properties import PlainProperties
from logstore.broker.routing.refusals import InvalidArgument


def text(value):
    return Field("S", value)


def matcher_of(**arguments):
    """One binding, whose arguments have ``_`` for ``-`` in their names."""
    matcher = HeadersMatch(NO_ARGUMENTS, lambda count: 0)
    named = {name.replace("_", "-").encode(): field for name, field in arguments.items()}
    matcher.add(Binding(b"x", b"q", b"", Arguments.of(named)), "q")
    return matcher


def matches(matcher, **headers):
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return list(matcher.match([b"any key"], PlainProperties(named))) != []


ONE_OF_EACH_CLASS = [
    (Field("I", 1), 1),
    (Field("d", 1.0), 1.0),
    (Field("S", b"1"), b"1"),
    (Field("t", True), True),
    (Field("T", 1), datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
    (Field("D", (0, 1)), Decimal(1)),
    (Field("V", None), None),
    (Field("A", (Field("I", 1),)), [1]),
    (Field("A", (Field("d", 1.0),)), [1.0]),
    (Field("F", Arguments.of({b"a": Field("I", 1)})), {"a": 1}),
    (Field("F", Arguments.of({b"a": Field("t", True)})), {b"a": True}),
]


def test_classes_of_types_are_kept_apart():
    """1 is not 1.0, "1", true, a decimal, or a moment; not within arrays and tables either."""
    for number, (_, value) in enumerate(ONE_OF_EACH_CLASS):
        for other, (field, _) in enumerate(ONE_OF_EACH_CLASS):
            void = field.kind == "V"
            assert matches(matcher_of(a=field), a=value) == (number == other or void)


@pytest.mark.parametrize("kind", list("bBsuIilL"))
def test_all_widths_of_integers_are_equal(kind):
    assert matches(matcher_of(a=Field(kind, 7)), a=7)
    assert matches(matcher_of(a=Field("l", 7)), a=Field(kind, 7))
    assert not matches(matcher_of(a=Field(kind, 7)), a=8)


@pytest.mark.parametrize("kind", list("fd"))
def test_both_widths_of_floats_are_equal(kind):
    assert matches(matcher_of(a=Field(kind, 0.5)), a=0.5)
    assert matches(matcher_of(a=Field("d", 0.5)), a=Field(kind, 0.5))


def test_texts_are_equal_however_they_were_decoded():
    for value in (b"\xc3\xa9", "é", bytearray(b"\xc3\xa9"), memoryview(b"\xc3\xa9")):
        assert matches(matcher_of(a=text(b"\xc3\xa9")), a=value)
        assert matches(matcher_of(a=Field("x", b"\xc3\xa9")), a=value)
    assert not matches(matcher_of(a=text(b"A")), a=b"a")


def test_decimals_are_equal_with_their_scale():
    assert matches(matcher_of(a=Field("D", (2, -150))), a=Decimal("-1.50"))
    assert not matches(matcher_of(a=Field("D", (2, -150))), a=Decimal("-1.5"))
    assert not matches(matcher_of(a=Field("D", (0, 0))), a=Decimal("NaN"))


def test_a_void_argument_asks_for_presence_only():
    matcher = matcher_of(a=Field("V", None))
    assert all(matches(matcher, a=value) for _, value in ONE_OF_EACH_CLASS)
    assert not matches(matcher, b=1)
    assert not matches(matcher)


def test_a_void_header_is_there_and_has_no_value():
    assert not matches(matcher_of(a=Field("I", 1)), a=None)
    assert matches(matcher_of(a=Field("V", None)), a=None)


@pytest.mark.parametrize("rule", [None, b"all"])
def test_all_is_the_default_and_asks_for_everything(rule):
    named = {} if rule is None else {"x_match": text(rule)}
    matcher = matcher_of(a=Field("I", 1), b=Field("V", None), c=text(b"x"), **named)
    assert matches(matcher, a=1, b=[], c="x", d=5)
    assert not matches(matcher, a=1, b=[])
    assert not matches(matcher, a=2, b=[], c="x")
    assert not matches(matcher)


def test_any_asks_for_one():
    matcher = matcher_of(x_match=text(b"any"), a=Field("I", 1), b=Field("V", None))
    assert matches(matcher, a=1)
    assert matches(matcher, a=2, b=False)
    assert not matches(matcher, a=2, c=1)
    assert not matches(matcher)


@pytest.mark.parametrize("rule", [b"all", b"any"])
def test_arguments_that_begin_with_x_are_ignored(rule):
    matcher = matcher_of(x_match=text(rule), x_tenant=text(b"t"), a=Field("I", 1))
    assert matches(matcher, a=1)
    assert not matches(matcher, x_tenant=b"t")


def test_with_x_they_are_asked_for_all_but_x_match_itself():
    every = matcher_of(x_match=text(b"all-with-x"), x_tenant=text(b"t"), a=Field("I", 1))
    assert matches(every, a=1, x_tenant=b"t")
    assert not matches(every, a=1)
    some = matcher_of(x_match=text(b"any-with-x"), x_tenant=text(b"t"), a=Field("I", 1))
    assert matches(some, x_tenant=b"t")
    assert not matches(some, x_match=b"any-with-x")


@pytest.mark.parametrize("named", [{}, {"x_tenant": text(b"t")}])
def test_without_anything_to_ask_for_all_is_true_and_any_is_false(named):
    for rule, expected in ((None, True), (b"all", True), (b"any", False)):
        rules = {} if rule is None else {"x_match": text(rule)}
        assert matches(matcher_of(**named, **rules)) == expected
        assert matches(matcher_of(**named, **rules), a=1, x_tenant=b"t") == expected
    assert matches(matcher_of(x_match=text(b"all-with-x")))
    assert not matches(matcher_of(x_match=text(b"any-with-x")), a=1)


@pytest.mark.parametrize(
    "field", [text(b"foo"), text(b"ALL"), text(b""), Field("I", 1), Field("V", None)]
)
def test_a_bad_x_match_is_refused(field):
    with pytest.raises(InvalidArgument) as refused:
        matcher_of(x_match=field, a=Field("I", 1))
    assert (refused.value.argument, refused.value.received) == (b"x-match", field)


def test_headers_that_no_binding_asks_for_are_not_looked_at():
    assert matches(matcher_of(a=Field("I", 1)), a=1, other=object())


def test_a_header_of_no_type_of_amqp_is_the_callers_mistake():
    with pytest.raises(TypeError, match="object is not a type of a header"):
        matches(matcher_of(a=Field("I", 1)), a=object())


FIELDS = st.sampled_from(
    [Field("I", 1), Field("l", 1), Field("d", 1.0), text(b"1"), Field("V", None), Field("t", True)]
)
TABLES = st.dictionaries(st.sampled_from([b"a", b"b", b"c", b"x-d"]), FIELDS, max_size=4)
RULES = st.sampled_from([None, b"all", b"any", b"all-with-x", b"any-with-x"])


def naive(table, rule, headers):
    with_x = rule is not None and rule.endswith(b"with-x")
    asked = {it: field for it, field in table.items() if with_x or not it.startswith(b"x-")}
    met = [
        name in headers and (field.kind == "V" or comparable(headers[name]) == comparable(field))
        for name, field in asked.items()
    ]
    return any(met) if rule in (b"any", b"any-with-x") else all(met)


@pytest.mark.long
@settings(max_examples=150)
@given(
    st.lists(st.tuples(TABLES, RULES), max_size=8),
    st.lists(TABLES, max_size=4),
    st.data(),
)
def test_many_bindings_match_as_each_of_them_does(tables, messages, data):
    matcher = HeadersMatch(NO_ARGUMENTS, lambda count: 0)
    bindings = {}
    for number, (table, rule) in enumerate(tables):
        named = table | ({} if rule is None else {b"x-match": text(rule)})
        bindings[number] = Binding(b"x", b"q", b"%d" % number, Arguments.of(named))
        matcher.add(bindings[number], number)
    gone = data.draw(st.sets(st.sampled_from(sorted(bindings)))) if bindings else set()
    for number in gone:
        matcher.remove(bindings[number], number)
    for headers in messages:
        expected = {
            number
            for number, (table, rule) in enumerate(tables)
            if number not in gone and naive(table, rule, headers)
        }
        assert set(matcher.match([b""], PlainProperties(headers))) == expected
    for number in set(bindings) - gone:
        matcher.remove(bindings[number], number)
    assert [matcher._always, matcher._by_wanted, matcher._names] == [{}, {}, {}]


@pytest.mark.long
def test_many_bindings_cost_a_message_nothing():
    """A hundred bindings or two thousand: a message costs what its own headers find."""
    work = {}
    for count in (100, 2000):
        matcher = HeadersMatch(NO_ARGUMENTS, lambda count: 0)
        for number in range(count):
            for rule in (b"all", b"any"):
                table = {
                    b"x-match": text(rule),
                    b"customer": Field("I", number),
                    b"order": text(b"o%d" % number),
                    b"region": Field("V", None),
                }
                if rule == b"any":
                    del table[b"region"]
                matcher.add(Binding(b"x", b"q", rule, Arguments.of(table)), (rule, number))
        headers = {b"customer": 7, b"order": b"o8", b"region": "eu", b"other": {}}
        found = []
        work[count] = lines_run(
            "headers_match.py",
            lambda matcher=matcher, headers=headers, found=found: found.extend(
                matcher.match([b""], PlainProperties(headers))
            ),
        )
        assert sorted(found) == [(b"any", 7), (b"any", 8)]
    assert work[2000] == work[100] < 100


def test_what_all_bindings_ask_for_does_not_make_them_one_heap():
    """Whatever header comes first, a binding is found by the one that few others ask for."""
    for common, own in ((b"a", b"z"), (b"z", b"a")):
        matcher = HeadersMatch(NO_ARGUMENTS, lambda count: 0)
        for number in range(1000):
            table = {common: text(b"mail"), own: Field("I", number), b"m": Field("V", None)}
            matcher.add(Binding(b"x", b"q", b"", Arguments.of(table)), number)
        found = []
        of = PlainProperties({common: "mail", own: 7, b"m": 1})
        match = matcher.match
        work = lines_run(
            "headers_match.py",
            lambda match=match, of=of, found=found: found.extend(match([b""], of)),
        )
        assert found == [7]
        assert work < 100
