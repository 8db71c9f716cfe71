"""The one step of a case that a client can't do; all before it has to go well."""

from contextlib import contextmanager

from speaking import Failed


class Cannot(Exception):
    """What a strict expected failure expects."""


@contextmanager
def the_step_that_fails():
    try:
        yield
    except (AssertionError, Failed) as error:
        raise Cannot(str(error)) from error
