"""Tests that a table names: whether they are there."""

import ast
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]


def is_there(test):
    """Whether the test exists. ``FILE::NAME``, relative to the tests, without ``test_``."""
    file, name = test.split("::")
    return f"test_{name}" in _functions(file)


@cache
def _functions(file):
    tree = ast.parse((TESTS / file).read_text())
    return {it.name for it in tree.body if isinstance(it, ast.FunctionDef)}
