import pytest
from http_kit import HttpPeer


@pytest.fixture
def peer():
    return HttpPeer()
