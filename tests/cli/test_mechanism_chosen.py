"""By which mechanism a command logs in at a cluster: no password in the clear to other machines."""

import pytest
from logstore_cli.cluster.address import Address
from logstore_cli.login import Login, Tls

from logstore.errors import Refused

ALL = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def chosen(text, offered, login=None):
    login = login or Login("ana")
    return Address(text, login)._chosen(login, offered)


@pytest.mark.parametrize("text", ["127.0.0.1:1", "192.0.2.1:1", "[::1]:1,192.0.2.1:2"])
def test_the_best_that_is_offered_is_taken(text):
    assert chosen(text, ALL) == "SCRAM-SHA-512"
    assert chosen(text, ALL[:2]) == "SCRAM-SHA-256"


@pytest.mark.parametrize("text", ["192.0.2.1:1", "127.0.0.1:1,192.0.2.1:2", "192.0.2.1:2,[::1]:1"])
def test_a_password_is_not_sent_in_the_clear_to_another_machine_unless_asked_to(text):
    with pytest.raises(Refused, match="keeps the password secret"):
        chosen(text, ("PLAIN",))
    assert chosen(text, ("PLAIN",), Login("ana", mechanism="PLAIN")) == "PLAIN"
    assert chosen(text, ("PLAIN",), Login("ana", tls=Tls())) == "PLAIN"


@pytest.mark.parametrize("text", ["127.0.0.1:1", "localhost:1,[::1]:2"])
def test_it_is_sent_so_within_this_machine(text):
    assert chosen(text, ("PLAIN",)) == "PLAIN"


def test_a_mechanism_that_was_asked_for_is_not_replaced_by_a_weaker_one():
    with pytest.raises(Refused, match="not SCRAM-SHA-256"):
        chosen("127.0.0.1:1", ("PLAIN",), Login("ana", mechanism="SCRAM-SHA-256"))
