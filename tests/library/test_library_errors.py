import inspect
import re

import pytest

import logstore
from logstore import errors
from logstore.errors import InvalidRecord, LogstoreError, StoreLocked, UnknownTopic

CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and kind.__module__ == errors.__name__
}


def drawn():
    """Name -> name of the parent, as the drawing at the top of errors.py has it."""
    parents, path = {}, []
    for line in errors.__doc__.splitlines():
        match = re.fullmatch(r"    ((?:[│ ]   )*(?:[├└]── )?)(\w+)(?: .*)?", line)
        if match and match[2] in CLASSES:
            depth = len(match[1]) // 4
            path = [*path[:depth], match[2]]
            parents[match[2]] = path[-2] if depth else None
    return parents


def test_the_drawing_shows_every_class_and_its_parent():
    assert drawn() == {
        name: None if kind is LogstoreError else kind.__base__.__name__
        for name, kind in CLASSES.items()
    }


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_says_what_it_means_and_ends_up_below_the_root(name):
    assert CLASSES[name].__doc__
    assert issubclass(CLASSES[name], LogstoreError)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\u2028b", "a\udc80b", "a\0b"])
def test_a_message_is_one_line_whatever_is_quoted_in_it(name, text):
    message = str(CLASSES[name](f"{text}: größer"))
    assert message.isprintable()
    assert message.endswith("b: größer")
    message.encode()


def test_a_message_without_oddities_is_left_as_it_is():
    assert str(UnknownTopic("no topic 'größe/…'")) == "no topic 'größe/…'"
    assert str(StoreLocked()) == ""
    assert InvalidRecord("x", 3).index == 3


def test_messages_of_a_store_at_a_strange_path_are_one_line(tmp_path):
    path = tmp_path / "a\nb\x1b"
    for open_it in (
        lambda: logstore.open(path, "read"),
        lambda: logstore.open(path, "write", create=False),
    ):
        with pytest.raises(LogstoreError) as caught:
            open_it()
        assert str(caught.value).isprintable()
    with logstore.open(path) as store, pytest.raises(StoreLocked) as caught:
        logstore.open(store.path)
    assert str(caught.value).isprintable()
