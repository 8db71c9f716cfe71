import random

import pytest

from tests.crash import kill_exact

pytestmark = pytest.mark.long


def test_a_killed_server_hands_messages_of_qos_2_over_exactly_once(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_exact.run(8, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 8
    assert totals.done > 0
