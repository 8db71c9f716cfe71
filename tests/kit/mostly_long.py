"""Many cases of one test: a few in each run of the tests, all of them in `make test-all`."""

import pytest


def mostly_long(many, few, *, rows=False):
    """Parameters: these few unmarked, the others of ``many`` marked as long.

    ``rows``: each parameter is a tuple with values of several names.
    """
    few = list(few)
    assert all(it in many for it in few), few
    return [
        it if it in few else pytest.param(*(it if rows else (it,)), marks=pytest.mark.long)
        for it in many
    ]
