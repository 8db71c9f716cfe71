"""Addresses of peers: one peer has one, however the server listens."""

import asyncio
import socket

import pytest
from line_server import Lines, plainly

from logstore.access.administration import check_host
from logstore.addresses import plain
from logstore.protocols.session import Doorway, Limits


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::1", "::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("::ffff:0:1.2.3.4", "::ffff:0:1.2.3.4"),  # not a mapped one
        ("", ""),
    ],
)
def test_a_mapped_address_is_the_one_that_it_maps(host, known):
    assert plain(host) == known


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::FFFF:A01:203", "10.1.2.3"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("10.1.2.3", "10.1.2.3"),
    ],
)
def test_a_rule_has_the_address_that_its_peer_has(text, host):
    assert check_host(text) == host


@plainly
async def test_who_comes_by_ipv4_has_the_same_address_wherever_the_server_listens(server, connect):
    try:
        _, port = server.listen("::", 0, Doorway(Lines, Limits(10, 60.0)))
    except OSError:
        pytest.skip("no IPv6 here")
    reader, writer = await asyncio.open_connection("127.0.0.1", port, family=socket.AF_INET)
    writer.write(b"one\n")
    assert await reader.readline() == b"ONE\n"
    link = Lines.last.link
    assert link.peer_address == writer.get_extra_info("sockname")
    assert link.address == ("127.0.0.1", port)
    assert link.peer == "127.0.0.1:{}".format(writer.get_extra_info("sockname")[1])
    writer.close()
