"""What all tests need of the process they run in."""

import gc
import os
import signal

os.environ.setdefault("TYPER_USE_RICH", "0")  # as cli/app.py, whoever imports typer first

import pytest
from clock import Clock
from hypothesis import settings

# The same examples on every run and every machine; a failure prints its own reproduction. Between
# two edits the first of them do; `make test-all` tries all.
settings.register_profile("all", derandomize=True, deadline=None, database=None, max_examples=40)
settings.register_profile("few", settings.get_profile("all"), max_examples=12)
settings.load_profile("few")


def pytest_configure(config):
    """Signals as a terminal gives them: what a background job or nohup ignores, children would."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)


def pytest_collection():
    """Nothing of what is made of the tests' files is garbage."""
    gc.disable()


def pytest_collection_finish():
    """It stays to the end: whoever collects garbage need not go through all of it each time."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def clock():
    return Clock()
