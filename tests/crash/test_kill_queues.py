import random

import pytest

from tests.crash import kill_queues

pytestmark = pytest.mark.long


def test_a_killed_server_has_what_it_promised_of_its_queues(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_queues.run(8, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 8
    assert totals.confirmed > 0
