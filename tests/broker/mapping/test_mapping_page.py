"""docs/mapping.md says what the mapping does."""

from pathlib import Path

import pytest

from logstore.amqp.fields import KINDS
from logstore.broker.mapping import names
from logstore.broker.mapping.messages import HEADERS_BYTES_MAX

PAGE = (Path(__file__).parents[3] / "docs" / "mapping.md").read_text()


def tables():
    """The rows of each table, by the heading or text line above it."""
    return [line for line in PAGE.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize(
    "name",
    [
        *names.PROPERTIES, names.EXCHANGE, names.TYPES, names.KEY, names.TOMBSTONE,
        names.TIMESTAMP_MS, names.HIDDEN, *sorted(names.COPIES), names.ESCAPE,
    ],
)  # fmt: skip
def test_the_page_tells_of_every_header_with_a_meaning(name):
    assert any(f"`{name}" in row for row in tables())


def test_the_page_tells_of_every_type_of_header():
    told = "".join(row.split("|")[2] for row in tables() if row.count("|") == 4)
    assert {letter for letter in KINDS.values() if f"`{letter}`" not in told} <= {"A", "F"}


def test_the_page_tells_how_many_bytes_of_headers_are_kept():
    assert f"{HEADERS_BYTES_MAX:,} bytes" in PAGE
