"""Families as text, read back by the parsers of Prometheus's own client."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.utils import floatToGoString

from logstore.protocols.http.metrics.exposition import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    INFO,
    LINES_MAX,
    OPEN,
    SUFFIXES,
    TEXT,
    TYPES,
    Buckets,
    Family,
    accepted,
    bound,
    labels,
    written,
)

PARSERS = [(TEXT, parse_text), (OPEN, parse_open)]
BOUNDS = [0.0001, 0.00025, 0.5, 1, 10, 100, 1000, 1e6, 5e7, 16777216, 123456789]

texts = st.text(max_size=8) | st.sampled_from(['"', "\\", "\n", "\\n", 'a"\\\n}', "# EOF", "\x00"])
names = texts | texts.map(str.encode) | st.binary(max_size=6)
given_labels = st.dictionaries(st.sampled_from(["vhost", "queue", "topic"]), names, max_size=3)
numbers = st.integers(0, 2**70) | st.floats(min_value=0, allow_infinity=False)
anything = numbers | st.floats() | st.integers() | st.booleans()


@st.composite
def values(draw, kind):
    if kind == HISTOGRAM:
        bounds = sorted(draw(st.sets(st.sampled_from(BOUNDS), max_size=5)))
        counts = draw(st.lists(st.integers(0, 2**40), min_size=len(bounds) + 1,
                               max_size=len(bounds) + 1))  # fmt: skip
        return Buckets([*map(bound, bounds)], counts, draw(st.floats(0, 1e12)))
    if kind == INFO:
        return 1
    return draw(numbers if kind == COUNTER else anything)


@st.composite
def tables(draw):
    """Families of different names; of each, samples of different labels, with pauses between."""
    table = []
    for number in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(TYPES))
        unit = draw(st.sampled_from(["", "_seconds", "_bytes"]))
        family = Family(f"logstore_m{number}{unit}", kind, "What it is.")
        samples = draw(
            st.dictionaries(given_labels.map(labels), values(kind), max_size=4).map(
                lambda it: list(it.items())
            )
        )
        for at in draw(st.lists(st.integers(0, len(samples)), max_size=2)):
            samples.insert(at, None)
        table.append((family, samples))
    return table


def expected(table):
    """Name, labels and value of each sample, in order; a histogram's as they are written."""
    found = []
    for family, samples in table:
        for sample in filter(None, samples):
            given_, value = sample
            if family.type != HISTOGRAM:
                found.append((family.name + SUFFIXES[family.type][0], given_, float(value)))
                continue
            total = 0
            for upto, count in zip([*value.bounds, "+Inf"], value.counts, strict=True):
                total += count
                place = ",".join(filter(None, [given_, f'le="{upto}"']))
                found.append((f"{family.name}_bucket", place, float(total)))
            found.append((f"{family.name}_sum", given_, value.sum))
            found.append((f"{family.name}_count", given_, float(total)))
    return found


def same(value, other):
    """As floats, which is what values are; one of the parsers leaves whole numbers whole."""
    return float(value) == float(other) or (math.isnan(value) and math.isnan(other))


@given(tables())
def test_what_is_written_in_small_parts_is_what_is_read(table):
    wanted = expected(table)
    there = [family for family, samples in table if any(samples)]
    for form, parse in PARSERS:
        parts = list(written(table, form))
        longest = max(len(it.splitlines(keepends=True)) for it in parts)
        assert longest <= LINES_MAX + 3 + len(BOUNDS) + 3  # a head and a histogram end a part late
        text = b"".join(parts).decode()
        assert text.endswith("# EOF\n") == (form is OPEN)
        found = list(parse(text))
        samples = [it for family in found for it in family.samples]
        assert [it.name for it in samples] == [name for name, _, _ in wanted]
        for sample, (_, given_, value) in zip(samples, wanted, strict=True):
            assert labels(sample.labels) == given_
            assert same(sample.value, value)
        types = [GAUGE if it.type == INFO and form is TEXT else it.type for it in there]
        assert [it.type for it in found] == types
        assert all(it.documentation == "What it is." for it in found)
        if form is OPEN:
            assert [it.unit for it in found] == [it.unit for it in there]


def test_many_samples_come_in_many_parts():
    family = Family("logstore_x", GAUGE, "What it is.")
    parts = list(written([(family, ((f'n="{n}"', n) for n in range(1000)))], TEXT))
    assert len(parts) == 6
    assert all(len(it.splitlines()) <= LINES_MAX + 1 for it in parts)


def test_work_without_text_is_a_part_too():
    family = Family("logstore_x", GAUGE, "What it is.")
    parts = list(written([(family, [None, None, ("", 1)])], OPEN))
    assert parts[:2] == [b"", b""]
    assert parts[2].splitlines()[-2:] == [b"logstore_x 1", b"# EOF"]


def test_names_that_are_no_text_stay_different():
    one, other = labels({"queue": b"a\xff"}), labels({"queue": b"a\xfe"})
    assert one == 'queue="a�",queue_bytes="61ff"'
    assert one != other != labels({"queue": "a�"})
    assert labels({"group": "a\udc80"}) == 'group="a���",group_bytes="61edb280"'


@given(st.floats(min_value=1e-4, max_value=1e30) | st.sampled_from([0.0, *BOUNDS]))
def test_ends_of_buckets_are_written_as_everyone_writes_them(value):
    assert float(bound(value)) == value
    assert bound(value) == floatToGoString(value)


def test_the_ends_that_dashboards_of_others_ask_for():
    asked = ["100.0", "1000.0", "100000.0", "1e+06", "5e+07", "1e+08", "+Inf"]
    assert [bound(it) for it in (100, 1000, 1e5, 1e6, 5e7, 1e8, math.inf)] == asked


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", OPEN),
        ("Application/OpenMetrics-Text", OPEN),
        ("text/plain;version=0.0.4", TEXT),
        ("*/*", TEXT),
        ("", TEXT),
    ],
)
def test_openmetrics_is_for_those_who_name_it(accept, form):
    assert accepted(accept) is form
