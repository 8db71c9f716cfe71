import random

import pytest

from tests.crash import kill_schedules

pytestmark = pytest.mark.long


def test_a_killed_server_delivers_what_waits_once(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_schedules.run(6, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 6
    assert totals.messages > 0
    assert totals.records > 0
