import random

import pytest

from tests.crash import kill_keys

pytestmark = pytest.mark.long


def test_keys_that_were_answered_are_there_though_the_server_is_killed(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_keys.run(5, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 5
    assert totals.answered
