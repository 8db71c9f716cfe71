"""Texts that people read keep to docs/writing.md, as far as a pattern can tell."""

import re
from pathlib import Path

import pytest
from voice import HEADLESS, UNIDIOMATIC

from logstore.settings import FILE_SETTINGS

PACKAGES = [Path(__file__).parents[2] / name for name in ("logstore", "cli", "pytest_logstore")]
SETTINGS = {name: field.metadata["reason"] for name, field in FILE_SETTINGS.items()}
PROPER = re.compile(r"(QoS|URL|JSON)\b")
FOUND_IN_CODE = ("is there already", "are there already")


def is_plain(text):
    """A phrase that stands alone: it begins with its noun or verb, and ends without a full stop."""
    begins = text[0].islower() or PROPER.match(text)
    return bool(begins and not text.endswith(".")) and not (
        HEADLESS.search(text) or re.match(r"(a|an|the|it|its|their|whether|if)\b", text)
    )


@pytest.mark.parametrize(
    "text",
    ["how often it is done", "Redis clients at once.", "more; what is over goes", "the largest"],
)
def test_a_setting_that_is_read_twice_is_found(text):
    assert not is_plain(text)


def test_every_setting_is_described_in_plain_words():
    for name, text in SETTINGS.items():
        assert is_plain(text), (name, text)
        for words, better in UNIDIOMATIC.items():
            assert words not in text, (name, text, better)


def test_nothing_says_that_something_is_there_already():
    for path in (it for folder in PACKAGES for it in folder.rglob("*.py")):
        text = path.read_text()
        for words in FOUND_IN_CODE:
            assert words not in text, (str(path), UNIDIOMATIC["is there already"])
