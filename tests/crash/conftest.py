import os
import tempfile

import pytest
from lossy_store import tell_of_commits


@pytest.fixture
def scratch():
    """A directory, in memory where there is a place for one: there is a great deal to sync."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as path:
        yield path


@pytest.fixture
def base(monkeypatch, scratch):
    """For the catalogues of a lossy store."""
    tell_of_commits(monkeypatch)
    return scratch
