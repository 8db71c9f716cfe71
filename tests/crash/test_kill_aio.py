import random

import pytest

from tests.crash import kill_aio

pytestmark = pytest.mark.long


def test_a_killed_event_loop_leaves_what_its_tasks_were_told(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_aio.rounds(4, seed, str(tmp_path))
    print(totals)
    assert totals.rounds == 4
    assert totals.appended > 0
    assert totals.confirmed > 0
