import random

import pytest

from tests.crash import kill_mqtt_kept

pytestmark = pytest.mark.long


def test_a_killed_server_retains_what_it_acknowledged_and_sends_wills(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_mqtt_kept.run(6, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 6
    assert totals.safe > 0
