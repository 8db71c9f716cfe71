"""Nobody writes under an id that they were not given: it could be another producer's."""

import signal
import subprocess

import pytest
from serving import COMMAND, DEADLINE_S, Serving
from wire_client import WireClient

pytestmark = pytest.mark.long

NOT_GIVEN, INVALID_RECORD = 49, 87


def test_a_client_that_makes_up_an_id_does_not_hide_an_honest_producers_record(start):
    server = start()
    with WireClient(server.endpoint) as forger, WireClient(server.endpoint) as honest:
        for guess in [*range(1, 50), 1000, 1001, 2**32, 2**32 + 1, 2**62]:
            assert forger.produce("t", [b"forged"], producer=(guess, 0, 0))[0] == NOT_GIVEN
        mine = honest.new_producer_id()
        for near in (mine - 1, mine + 1, mine ^ 1 << 32, mine + (1 << 32)):
            assert forger.produce("t", [b"forged"], producer=(near, 0, 0))[0] == NOT_GIVEN
        assert honest.produce("t", [b"honest"], producer=(mine, 0, 0)) == (0, 0)
        assert honest.produce("t", [b"honest"], producer=(mine, 0, 0)) == (0, 0)  # a repetition
        assert honest.produce("t", [b"honest"], producer=(mine, 1, 0)) == (0, 1)  # KIP-360


@pytest.mark.parametrize("producer_id", [-2, -(2**63)])
def test_an_id_below_none_is_refused(start, producer_id):
    with WireClient(start().endpoint) as client:
        assert client.produce("t", [b"x"], producer=(producer_id, 0, 0))[0] == INVALID_RECORD


def test_an_id_is_good_after_a_kill_and_on_another_partition(start):
    server = start()
    with WireClient(server.endpoint) as client:
        mine = client.new_producer_id()
        assert client.produce("t", [b"a"], producer=(mine, 0, 0)) == (0, 0)
    server.stop(signal.SIGKILL)
    with WireClient(start().endpoint) as client:
        assert client.produce("t", [b"a"], producer=(mine, 0, 0)) == (0, 0)
        assert client.produce("t", [b"b"], producer=(mine, 0, 1)) == (0, 1)
        assert client.produce("u", [b"c"], producer=(mine, 0, 0)) == (0, 0)
        assert client.new_producer_id() != mine


def test_a_restored_store_gives_no_id_that_the_other_gives(tmp_path):
    data, copy = tmp_path / "data", tmp_path / "copy"
    server = Serving(data)
    with WireClient(server.endpoint) as client:
        before = client.new_producer_id()
        assert client.produce("t", [b"a"], producer=(before, 0, 0)) == (0, 0)
        done = subprocess.run(
            [COMMAND, "backup", copy, "--data", data], capture_output=True, text=True,
            timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        later = client.new_producer_id()
    server.stop()
    restored = Serving(copy)
    with WireClient(restored.endpoint) as client:
        assert client.new_producer_id() not in (before, later)
        assert client.produce("t", [b"x"], producer=(later, 0, 0))[0] == NOT_GIVEN
        anew = client.new_producer_id()
        assert client.produce("t", [b"x"], producer=(anew, 0, 0)) == (0, 1)
    restored.stop()
