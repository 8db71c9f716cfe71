"""The crash law where a write is larger than a sector or a page, and torn at their borders."""

import random

import pytest
from lossy_disk import SURVIVORS_MOST, LossyDisk, torn
from lossy_log import SEED, Machine, check_law


@pytest.mark.parametrize("preallocate", [False, True])
def test_the_law_holds_whatever_is_torn_of_large_batches(preallocate):
    """Batches over many sectors and pages: each is torn at their borders."""
    given = {"value_bytes": 2500, "segment_bytes": 16_000, "preallocate": preallocate}
    machine = Machine(LossyDisk(), **given)
    for count in (1, 3, 1, 2, 4):
        machine.append(count)
        machine.wait()
    choose, states = random.Random(SEED), 0
    for moment in machine.moments:
        for disk in moment.disk.survivors(choose, SURVIVORS_MOST):
            check_law(moment, disk, moment.slot, **given)
            states += 1
    print(f"seed {SEED}: {len(machine.moments)} moments, {states} states")
    assert states > 100


def test_a_write_is_torn_at_sectors_and_pages():
    data = bytes(range(256)) * 40
    parts = torn(4000, data)
    assert [(4000, data[:96])] in parts  # up to the page's border
    assert [(4096, data[96:])] in parts
    ends = {(at, at + len(part)) for ((at, part),) in parts}
    assert all(at == 4000 or end == 4000 + len(data) for at, end in ends)  # one side is whole
    assert all(at in (4000, 4096) or at % 512 == 0 for at, _ in ends)
    assert torn(5, b"abcd") == [[(5, b"ab")]]
