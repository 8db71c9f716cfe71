"""One node over a directory of its own, in one life after the other."""

import pytest
from queue_parts import Lives


@pytest.fixture
def lives(tmp_path):
    lives = Lives(tmp_path)
    lives.open()
    yield lives
    lives.end()


@pytest.fixture
def node(lives):
    return lives.node
