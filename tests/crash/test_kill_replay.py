import random

import pytest

from tests.crash import kill_replay

pytestmark = pytest.mark.long


def test_a_replay_that_is_killed_has_sent_the_past_from_its_beginning(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_replay.run(6, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 6
