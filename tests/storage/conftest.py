import pytest
import storage_kit


@pytest.fixture
def store(tmp_path):
    """Opens writers and readers of one directory, and closes what a test leaves open."""
    opened = storage_kit.Opened(tmp_path / "store")
    yield opened
    opened.close_all()
