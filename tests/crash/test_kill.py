import random

import kill


def test_nothing_acknowledged_is_lost_when_producers_are_killed(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill.run(12, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 12
    assert totals.acknowledged > 0
