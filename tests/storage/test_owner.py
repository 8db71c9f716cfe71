"""What others are told of a process that has a store."""

import pytest

from logstore.owner import command_of


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["app", "--password", "hunter2", "y"], "app --password *** y"),
        (["app", "--db-password=hunter2 x"], "app --db-password=***"),
        (["app", "-password", "hunter2"], "app -password ***"),
        (["app", "--ADMIN_SECRET", "hunter2", "-z"], "app --ADMIN_SECRET *** -z"),
        (["app", "--api-key=hunter2", "--token", "hunter2"], "app --api-key=*** --token ***"),
        (["app", "amqp://al:hunter2@host/v", "b"], "app amqp://al:***@host/v b"),
        (["app", "--url=redis://:hunter2@host"], "app --url=redis://:***@host"),
        (["app", "--password-file", "path"], "app --password-file path"),
        (["app", "--password-stdin", "al"], "app --password-stdin al"),
        (["logstore", "user", "passwd", "al"], "logstore user passwd al"),
        (["app", "--password"], "app --password"),
    ],
)
def test_passwords_of_a_command_line_are_not_shown(words, shown):
    assert command_of(words) == shown
