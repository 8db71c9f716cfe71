import shutil
import tempfile

import pytest
from lossy_store import tell_of_commits


@pytest.fixture
def base(monkeypatch, tmp_path):
    """A directory for real catalogues: in memory where there is one, since LMDB syncs a lot."""
    tell_of_commits(monkeypatch)
    try:
        path = tempfile.mkdtemp(dir="/dev/shm")
    except OSError:
        path = str(tmp_path / "base")
    yield path
    shutil.rmtree(path, ignore_errors=True)
