"""What has to do with secrets is compared in a time that does not tell how much of it was right."""

import ast
import re
from pathlib import Path

import pytest

import logstore

ROOT = Path(logstore.__file__).parent
SECRET = re.compile(
    r"(pass(word|wd)?|proof|nonce|signature|secret|digest|sha256|hmac|(stored|server|client)_key)s?"
)
WHERE = ["access", "protocols"]
OPERATORS = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)


def last_name(node):
    """``password`` of ``password``, ``it.password``, ``it.password()`` and ``password[3]``."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def compared_secrets(text):
    """The lines that compare something secret by ``==`` or ``in``."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], OPERATORS):
            sought = isinstance(
                node.ops[0], ast.In | ast.NotIn
            )  # a NUL in a password tells nothing
            names = [last_name(it) for it in (node.left, *([] if sought else node.comparators))]
            if any(SECRET.fullmatch(it.lstrip("_")) for it in names):
                yield node.lineno


@pytest.mark.long
def test_no_secret_is_compared_by_an_operator():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in WHERE
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in compared_secrets(path.read_text())
    ]
    assert found == []


def test_the_search_finds_what_it_is_for():
    for text in ("a.password == b", "b != stored_key", "_proof(x) == y", "nonce[1:] in z"):
        assert list(compared_secrets(text)) == [1]
    for text in ("compare_digest(password, b)", "len(password) > 3", "password is None"):
        assert list(compared_secrets(text)) == []
