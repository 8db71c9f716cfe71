"""Passwords as RabbitMQ keeps them: taken, checked, and gone with the next password."""

import pytest

from logstore.access.access import Access, Unkept
from logstore.access.administration import new_password
from logstore.access.passwords import Passwords
from logstore.access.rabbit_hashes import is_of, parse, written
from logstore.kept.users import KeptAccess, KeptUser

# Of a rabbitmq-server 3.10.8, for the password "guest".
GUEST = "yN9US6zNdn2qoBaqEX+7X1eIJYk3Gu/DNRZmbrqSArmN32iK"
SHA_256 = "rabbit_password_hashing_sha256"


def test_a_hash_of_a_real_one_is_that_of_its_password():
    found = parse(GUEST, SHA_256)
    assert is_of(found, b"guest")
    assert not is_of(found, b"guest2")
    assert not is_of(found, b"")
    assert written(found) == (GUEST, SHA_256)


@pytest.mark.parametrize(
    ("text", "algorithm", "why"),
    [
        ("AAAA", SHA_256, "a hash of 3 bytes is none of sha256"),
        (GUEST, "rabbit_password_hashing_sha512", "a hash of 36 bytes is none of sha512"),
        (GUEST, "bcrypt", "the hashing algorithm 'bcrypt' is not known"),
        ("no base64!", SHA_256, "base64|padding|non-"),
    ],
)
def test_what_is_no_hash_is_refused(text, algorithm, why):
    with pytest.raises(ValueError, match=why):
        parse(text, algorithm)


@pytest.fixture
def logins():
    user = KeptUser("guest", tags=("management",), rabbit=parse(GUEST, SHA_256))
    access = Access(Unkept(KeptAccess(users=[user])))
    found = Passwords(access, lambda job, done: done(job()), lambda: 0.0, b"secret", 0.1)
    found.access = access
    return found


def logged_in(logins, password):
    told = []
    logins.check(b"guest", password, "192.0.2.1", told.append)
    return told[0].user


def test_its_user_logs_in_with_the_password(logins):
    for _ in range(2):  # the second time it is remembered
        assert logged_in(logins, b"guest") == "guest"
        assert logged_in(logins, b"wrong") is None
    assert not logins.find("SCRAM-SHA-256", "guest").known


def test_the_hash_goes_with_the_next_password(logins):
    logins.access.change(*new_password(logins.access, "guest", {}))
    assert logged_in(logins, b"guest") is None
    assert logins.access.users["guest"].rabbit is None
