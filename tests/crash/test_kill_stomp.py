import random

import pytest

from tests.crash import kill_stomp

pytestmark = pytest.mark.long


def test_a_killed_server_has_what_it_promised_to_stomp_clients(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_stomp.run(6, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 6
    assert totals.safe > 0
