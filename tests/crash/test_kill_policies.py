import random

import pytest

from tests.crash import kill_policies

pytestmark = pytest.mark.long


def test_a_killed_server_has_its_policies_and_what_was_imported(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_policies.run(6, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 6
    assert totals.confirmed > 0
