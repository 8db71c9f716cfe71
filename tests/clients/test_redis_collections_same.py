"""A real redis-server and ours are told the same about hashes, lists, sets and sorted sets."""

import os
import random

import pytest
from collection_commands import KEYS, WITHOUT_ORDER, any_command
from redis_parts import RealRedis, needs_redis
from resp_same import Asker, in_order
from serving import Serving

pytestmark = needs_redis

STEPS = 400


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    real, ours = RealRedis(folder), Serving(folder / "data")
    yield real, ours
    real.stop()
    code, errors = ours.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


class Same:
    """One client of each."""

    def __init__(self, both, version):
        self.real, self.ours = (Asker(server, version) for server in both)
        self.ask(b"FLUSHALL")

    def ask(self, *words):
        real, ours = self.real.ask(*words), self.ours.ask(*words)
        expected = in_order(words, real, WITHOUT_ORDER)
        assert in_order(words, ours, WITHOUT_ORDER) == expected, words
        return ours

    def close(self):
        self.real.close()
        self.ours.close()


@pytest.mark.parametrize("round_", range(2))
@pytest.mark.parametrize("version", [2, 3])
def test_random_commands_get_the_same_replies(both, version, round_):
    seed = int(os.environ.get("REDIS_SEED", random.randrange(2**32)))
    print("REDIS_SEED", seed)
    chance = random.Random(seed)
    same = Same(both, version)
    for step in range(STEPS):
        same.ask(*any_command(chance))
        if step % 50 == 0:
            for key in KEYS:
                same.ask(b"TYPE", key)
                same.ask(b"TTL", key)
    same.close()


@pytest.mark.long
@pytest.mark.parametrize("round_", range(20))
@pytest.mark.parametrize("version", [2, 3])
def test_more_random_commands_get_the_same_replies(both, version, round_):
    test_random_commands_get_the_same_replies(both, version, round_)
