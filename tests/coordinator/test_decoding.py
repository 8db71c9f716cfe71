"""What was kept of groups, read back."""

import msgspec
import pytest

from logstore.broker.coordinator.decoding import decoder_of
from logstore.errors import CorruptStore


class Kept(msgspec.Struct):
    """Of a group."""

    epoch: int


@pytest.mark.parametrize("damaged", [b"", b"{}", b'{"epoch": "x"}', b'{"x": ' + b"[" * 100_000])
def test_what_is_damaged_is_told_as_such_however_deep_it_goes(damaged):
    with pytest.raises(CorruptStore, match="kept of a consumer group is damaged"):
        decoder_of(Kept)(damaged)
