import random

import pytest

from tests.crash import kill

pytestmark = pytest.mark.long


def test_nothing_acknowledged_is_lost_when_producers_are_killed(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    done = []
    totals = kill.run(12, seed, str(tmp_path / "store"), each=done.append)
    print(totals)
    assert totals.rounds == 12
    for style in kill.STYLES:
        assert sum(one.acknowledged for one in done if one.style == style) > 0, style
