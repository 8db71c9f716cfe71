"""Topics by a pattern: what one of them may cost."""

import pytest

from logstore.broker.coordinator.pattern import PATTERN_BYTES_MAX, Patterns, compiled
from logstore.broker.coordinator.refusal import Refusal


class Names:
    """Of all topics; counts how many were compared with a pattern."""

    def __init__(self, monkeypatch, *names):
        self.names, self.compared = set(names), []
        outer = self

        class Compiled:
            def __init__(self, pattern):
                self._match = compiled(pattern).fullmatch

            def fullmatch(self, name):
                outer.compared.append(name.decode())
                return self._match(name)

        monkeypatch.setattr("logstore.broker.coordinator.pattern.compiled", Compiled)

    def __call__(self):
        return self.names


@pytest.mark.parametrize("pattern", ["x" * (PATTERN_BYTES_MAX + 1), "é" * 3000, "x" * 468 * 1024])
def test_a_pattern_of_hundreds_of_kilobytes_is_refused_before_it_is_compiled(pattern):
    before = compiled.cache_info().currsize
    with pytest.raises(Refusal, match="at most 4096 are allowed"):
        compiled(pattern)
    assert compiled.cache_info().currsize == before


@pytest.mark.parametrize("pattern", ["((a{100}){100}){10}", "(\\pL{30}){30}", "(.{500}){2}" * 40])
def test_a_short_pattern_that_would_become_a_large_program_is_refused(pattern):
    with pytest.raises(Refusal, match="not a pattern of RE2"):
        compiled(pattern)


def test_the_longest_pattern_is_taken():
    assert compiled("x" * PATTERN_BYTES_MAX).fullmatch(b"x" * PATTERN_BYTES_MAX)


def test_a_new_topic_is_compared_alone_and_one_that_is_gone_is_left_out(monkeypatch):
    names = Names(monkeypatch, *(f"t{number}" for number in range(1000)))
    patterns = Patterns(names)
    assert not patterns.knows("t1.*")
    assert len(patterns.topics("t1.*")) == 111
    assert patterns.knows("t1.*")
    assert len(names.compared) == 1000
    patterns.topics("t1.*")
    names.names |= {"t1x", "u"}
    names.names -= {"t1", "t2"}
    assert len(patterns.topics("t1.*")) == 111  # it was not told of it yet
    assert len(names.compared) == 1000
    patterns.topics_changed()
    found = patterns.topics("t1.*")
    assert (len(found), "t1x" in found, "t1" in found) == (111, True, False)
    assert sorted(names.compared[1000:]) == ["t1x", "u"]
