"""Nothing is found where all is well, and each fault is."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.histories.findings import findings
from tests.histories.serial import FAULTS, Serial

SEEDS = st.integers(0, 2**32)


def drawn(seed, length=30):
    return Serial(random.Random(seed)).history(length)


@given(SEEDS, st.integers(0, 60))
def test_a_serial_history_has_no_finding(seed, length):
    assert findings(drawn(seed, length), held=True) == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda it: it.__name__)
def test_a_fault_is_found(fault):
    done = 0
    for seed in range(20):
        wrong = fault(drawn(seed), random.Random(seed))
        if wrong is not None:
            done += 1
            found = {it.kind for it in findings(wrong)}
            assert found & FAULTS[fault], f"seed {seed}: {found}"
    assert done > 10
