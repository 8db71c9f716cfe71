"""Waiting for what nothing tells of, with a deadline."""

import time

DEADLINE_S = 30


def until(condition, *hear, complain=lambda: "in vain"):
    """Call each of ``hear`` repeatedly until ``condition()`` holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        for take_in in hear:
            take_in()
        assert time.monotonic() < deadline, complain()
