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


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory):
    lives = Lives(tmp_path_factory.mktemp("node"))
    yield lives.open()
    lives.end()


@pytest.fixture
def shared(long_lived):
    """A node as good as new: to make one takes 0.1 s."""
    yield long_lived
    long_lived.empty()
