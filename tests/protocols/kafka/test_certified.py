"""A Kafka connection whose client has shown a certificate: it need not log in, and may."""

import pytest
from sasl_kit import AL, BO, PLAIN, Stranger

from logstore.kafka.messages import metadata
from logstore.protocols.kafka.sasl import LOGIN_S
from logstore.subject import Certificate


def shown(user, subject="CN=al,O=Acme"):
    return Certificate(subject, ("al",), (), user)


def who(talk):
    return talk.session._client.rights.who


def test_the_user_of_a_certificate_is_served_without_a_login():
    talk = Stranger(certificate=shown("al"))
    assert talk.versions().error_code == 0
    assert talk.serves()
    assert (who(talk).user, who(talk).mechanism, who(talk).host) == ("al", "SSL", "192.0.2.1")
    assert talk.session._login is None  # and nothing is looked at any more
    assert talk.handshake().error_code == 34


def test_it_may_be_idle_before_its_first_request():
    talk = Stranger(certificate=shown("al"))
    talk.pass_time(2 * LOGIN_S)
    assert talk.serves()


@pytest.mark.parametrize("versions_first", [True, False])
def test_who_shows_a_certificate_and_logs_in_is_who_has_logged_in(versions_first):
    talk = Stranger(certificate=shown("bo"))
    if versions_first:
        talk.versions()
    assert who(talk).user == "bo"
    assert talk.log_in().error_code == 0
    assert (who(talk).user, who(talk).mechanism) == ("al", "PLAIN")
    assert talk.serves()


def test_a_login_that_fails_is_not_made_good_by_the_certificate():
    talk = Stranger(certificate=shown("bo"))
    talk.handshake()
    assert talk.refused(b"\0al\0wrong").error_code == 58
    assert "refused" in talk.closed


def test_between_the_tokens_of_a_login_nothing_else_is_served():
    talk = Stranger(certificate=shown("bo"))
    talk.handshake("SCRAM-SHA-256")
    talk.say(3, 1, metadata.Request(None))
    assert "where SaslAuthenticate is due" in (talk.out() and talk.closed)


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        (shown(None), "no rule of tls.client.user.rules fits its certificate, CN=al,O=Acme"),
        (shown("zoe"), "stands for user 'zoe', who does not exist"),
        (shown("zo\x1be\n"), r"user 'zo\\x1be\\n'"),
        (None, "api key 3 where SaslHandshake is due"),
    ],
)
def test_a_certificate_of_nobody_is_none(certificate, why):
    talk = Stranger(certificate=certificate)
    talk.versions()
    assert not who(talk).user
    talk.say(3, 1, metadata.Request(None))
    assert why in talk.closed
    again = Stranger(certificate=certificate)
    assert again.log_in(PLAIN).error_code == 0  # it may say so otherwise
    assert again.serves()


def test_a_user_that_is_deleted_has_no_certificate_either():
    talk = Stranger(certificate=shown("bo"))
    assert talk.serves()
    talk.access.change(forget=[BO])
    talk.session._client.users_changed()
    assert talk.closed == "user 'bo' was removed"
    assert not who(Stranger(users=(AL,), certificate=shown("bo"))).user


def test_without_users_a_certificate_says_nothing():
    talk = Stranger(users=(), certificate=shown("al"))
    assert talk.serves()
    assert not who(talk).user


@pytest.mark.parametrize(("users", "secure", "listener"), [
    ((), False, "PLAINTEXT"), ((), True, "SSL"),
    ((AL,), False, "SASL_PLAINTEXT"), ((AL,), True, "SASL_SSL"),
])  # fmt: skip
def test_a_client_sees_the_listener_that_it_has_come_by(users, secure, listener):
    talk = Stranger(users=users)
    talk.session._client._secure = secure
    if users:
        talk.log_in()
    assert talk.session._client.listener == listener


def test_a_user_that_is_made_anew_is_not_the_one_whose_connection_it_is():
    talk = Stranger(certificate=shown("bo"))
    talk.access.change(forget=[BO])
    talk.session._client.users_changed()
    talk.access.change(keep=[BO])
    talk.session._client.rules_changed()
    assert talk.closed == "user 'bo' was removed"
