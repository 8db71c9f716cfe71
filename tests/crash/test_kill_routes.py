import random

import pytest

from tests.crash import kill_routes

pytestmark = pytest.mark.long


def test_what_a_topic_feeds_arrives_though_the_server_is_killed(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_routes.run(5, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 5
    assert totals.acknowledged
