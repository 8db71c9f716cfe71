"""What ``logstore shovel`` is told of its two sides."""

import pytest
import typer
from logstore_cli.shovel.place import HEARTBEAT_S, place_of


@pytest.mark.parametrize(
    ("text", "address", "vhost", "user"),
    [
        ("amqp://h", "h:5672", "/", None), ("amqp://h/", "h:5672", "/", None),
        ("amqps://h", "h:5671", "/", ""), ("amqp://u:p@h:1/%2F", "h:1", "/", "u"),
        ("amqp://u%40x:p%2Fw@[::1]:7/shop", "[::1]:7", "shop", "u@x"),
        ("amqp://h/a%2Fb", "h:5672", "a/b", None), ("amqp://h?heartbeat=5", "h:5672", "/", None),
    ],
)  # fmt: skip
def test_a_uri_says_where_and_who(text, address, vhost, user):
    place = place_of(text, "--from", None)
    assert (place.address, place.vhost) == (address, vhost)
    assert (None if place.login is None else place.login.user) == user
    assert place.heartbeat_s == (5 if "heartbeat" in text else HEARTBEAT_S)
    assert "p" not in str(place).replace("shop", "")


@pytest.mark.parametrize("text", [
    "amqp://", "amqp://h:0x1", "amqp://h:99999", "http://h", "amqp://h/a/b", "amqp://h#x", "x://y",
    "amqp://h?heartbeat=0", "amqp://h?heartbeat=99999", "amqp://h?what=1", "amqp://[::1",
    "amqp://h?cacertfile=x", "amqp://:5672", "amqp://h?heartbeat=", "amqp://h?heartbeat=-1",
])  # fmt: skip
def test_what_is_no_uri_is_a_usage_error(text):
    with pytest.raises(typer.BadParameter) as caught:
        place_of(text, "--from", None)
    assert "\n" not in str(caught.value)
