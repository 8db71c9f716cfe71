"""How a connection logs in: what is taken in which state, what is told, when it is closed."""

import struct

import pytest
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sasl_kit import AL, PLAIN, ROOT, Stranger
from scram_client import ScramClient

from logstore.access.scram_keys import keys_of
from logstore.access.tokens import BadToken, Bearer
from logstore.kafka.messages import api_versions, metadata, sasl_authenticate, sasl_handshake
from logstore.kept.users import KeptQuota, KeptUser
from logstore.names import PASSWORD_BYTES_MAX, USER_BYTES_MAX
from logstore.protocols.kafka.apis import APIS
from logstore.protocols.kafka.sasl import EARLY_BYTES_MAX, HELD_BYTES, LOGIN_S

MECHANISMS = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
WRONG = "Authentication failed: Invalid username or password"


def generic(mechanism, when="authentication"):
    text = f"Authentication failed during {when} due to invalid credentials with SASL mechanism"
    return f"{text} {mechanism}"


def test_without_users_nobody_has_to_log_in():
    talk = Stranger(users=())
    assert talk.serves()
    assert talk.handshake().error_code == 34
    assert talk.token(PLAIN).error_code == 34
    assert talk.closed is None


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("first", [True, False])
def test_a_client_logs_in_by_plain_and_is_served(version, first):
    talk = Stranger()
    if first:
        assert talk.versions().error_code == 0
    answer = talk.log_in(version=version)
    assert (answer.error_code, answer.auth_bytes, answer.session_lifetime_ms) == (0, b"", 0)
    assert talk.serves()
    who = talk.session._client.rights.who
    assert (who.user, who.host, who.mechanism, who.door) == ("al", "192.0.2.1", "PLAIN", "kafka")


@pytest.mark.parametrize("mechanism", MECHANISMS[1:])
def test_a_client_logs_in_by_scram_and_is_shown_that_the_server_knows_its_password(mechanism):
    talk, client = Stranger(), ScramClient("al", "pencil", mechanism)
    assert talk.handshake(mechanism).mechanisms == MECHANISMS
    first = talk.token(client.first())
    assert (first.error_code, first.session_lifetime_ms) == (0, 0)
    assert not talk.session._client.rights.who.user
    last = talk.token(client.final(first.auth_bytes))
    assert (last.error_code, last.auth_bytes) == (0, client.verifier)
    assert talk.serves()


def test_the_raw_tokens_of_old_clients():
    talk = Stranger()
    assert talk.handshake("PLAIN", version=0).error_code == 0
    assert talk.raw(PLAIN) == struct.pack(">i", 0)
    assert talk.serves()


def test_the_raw_tokens_of_old_clients_by_scram():
    talk, client = Stranger(), ScramClient("al", "pencil")
    talk.handshake("SCRAM-SHA-256", version=0)
    first = talk.raw(client.first())
    assert talk.raw(client.final(first[4:]))[4:] == client.verifier
    assert talk.serves()


@pytest.mark.parametrize("token", [b"\0al\0brush", b"", b"x", b"\0nobody\0x"])
def test_a_raw_token_that_is_refused_closes_the_connection_with_nothing_sent(token):
    talk = Stranger()
    talk.handshake("PLAIN", version=0)
    assert talk.raw(token) == b""
    assert talk.closed is None
    talk.pass_time(0.11)
    assert talk.out() == b""
    assert "by PLAIN refused" in talk.closed


@pytest.mark.parametrize(
    ("mechanism", "token", "text"),
    [
        ("PLAIN", b"\0al\0brush", WRONG),
        ("PLAIN", b"\0nobody\0pencil", WRONG),
        ("PLAIN", b"\0\0pencil", "Authentication failed: username not specified"),
        ("PLAIN", b"\0al\0", "Authentication failed: password not specified"),
        ("PLAIN", b"al\0pencil", generic("PLAIN")),
        ("PLAIN", b"\0al\0pencil\0x", generic("PLAIN")),
        (
            "PLAIN",
            b"root\0al\0pencil",
            "Authentication failed: Client requested an authorization id that is different from "
            "username",
        ),
        (
            "SCRAM-SHA-256",
            b"n,a=root,n=al,r=x",
            "Authentication failed: Client requested an authorization id that is different from "
            "username",
        ),
        ("SCRAM-SHA-256", b"p=tls-unique,,n=al,r=x", generic("SCRAM-SHA-256")),
        ("SCRAM-SHA-512", b"", generic("SCRAM-SHA-512")),
    ],
)
def test_a_refusal_is_told_later_and_then_the_connection_is_closed(mechanism, token, text):
    talk = Stranger()
    talk.handshake(mechanism)
    answer = talk.refused(token)
    assert (answer.error_code, answer.error_message, answer.auth_bytes) == (58, text, b"")
    assert f"by {mechanism} refused" in talk.closed


@pytest.mark.parametrize("name", ["al", "nobody"])
def test_a_wrong_password_by_scram_is_told_at_the_end_whoever_it_is(name):
    talk, client = Stranger(), ScramClient(name, "wrong")
    talk.handshake("SCRAM-SHA-256")
    first = talk.token(client.first())
    assert first.error_code == 0
    answer = talk.refused(client.final(first.auth_bytes))
    assert (answer.error_code, answer.error_message) == (58, generic("SCRAM-SHA-256"))
    assert f"user {name!r}" in talk.closed


def test_each_further_failure_of_an_address_is_told_later():
    one = Stranger()
    for delay_s in (0.1, 0.2, 0.4):
        talk = Stranger(beside=one)
        talk.handshake()
        talk.say(36, 1, sasl_authenticate.Request(b"\0al\0no"))
        talk.pass_time(0.0)
        assert talk.out() == b""
        assert talk.session.deadline == pytest.approx(talk.now + delay_s)
        talk.pass_time(delay_s)
        assert len(talk.replies()) == 1


def test_while_a_refusal_is_held_back_nothing_is_taken():
    talk = Stranger()
    talk.handshake()
    talk.say(36, 1, sasl_authenticate.Request(b"\0al\0brush"))
    assert talk.feed(talk.frame(17, 1, b"\0\5PLAIN")) == 0
    assert talk.closed is None


def test_who_leaves_is_told_at_once():
    talk = Stranger()
    talk.handshake()
    talk.say(36, 1, sasl_authenticate.Request(b"\0al\0brush"))
    talk.session.finish(talk.now)
    assert len(talk.replies()) == 1


def test_a_mechanism_that_is_not_enabled_is_refused_with_those_that_are():
    talk = Stranger(settings={"sasl.enabled.mechanisms": "SCRAM-SHA-512"})
    answer = talk.handshake("PLAIN")
    assert (answer.error_code, answer.mechanisms) == (33, ["SCRAM-SHA-512"])
    assert "'PLAIN' is not enabled" in talk.closed


@pytest.mark.parametrize("mechanism", ["", "plain", "GSSAPI", "x" * 1000])
def test_an_unknown_mechanism(mechanism):
    talk = Stranger()
    answer = talk.handshake(mechanism)
    assert (answer.error_code, answer.mechanisms) == (33, MECHANISMS)
    assert len(talk.closed) < 200


OTHERS = [key for key in APIS if key not in (17, 18)]


@pytest.mark.parametrize("key", OTHERS)
@pytest.mark.parametrize("first", [True, False])
def test_before_a_handshake_every_other_request_closes_the_connection_unanswered(key, first):
    talk = Stranger()
    if first:
        talk.versions()
    talk.send(key, APIS[key].high, b"\0" * 64)
    assert talk.out() == b""
    assert f"api key {key}" in talk.closed


def test_an_unknown_request_before_a_login_closes_the_connection():
    talk = Stranger()
    talk.feed(struct.pack(">ihhi", 10, 999, 0, 1) + b"\0\0")
    assert talk.closed


def test_the_versions_are_told_once_and_an_unknown_version_of_them_any_number_of_times():
    talk = Stranger()
    for _ in range(3):
        talk.send(18, 9, b"whatever")
        assert len(talk.replies()) == 1
    talk.versions()
    talk.say(18, 3, api_versions.Request("x", "1"))
    assert talk.out() == b""
    assert "SaslHandshake is due; the client has not logged in: its security.pro" in talk.closed


@pytest.mark.parametrize("key", [3, 18, 60, 10])
def test_another_request_where_a_token_is_due_is_answered_so_where_it_can_be(key):
    talk = Stranger()
    talk.handshake()
    version = APIS[key].low
    talk.send(key, version, b"\0" * 64)
    replies = talk.replies()
    if key in (18, 60):
        [(_, body)] = replies
        assert b"\0\x22" in body[:8]  # 34, behind the throttle time of some
    assert "SaslAuthenticate is due" in talk.closed


def test_a_second_handshake_where_a_token_is_due():
    talk = Stranger()
    talk.handshake()
    assert talk.handshake().error_code == 34
    assert talk.closed


def test_after_a_login_there_is_no_other_one():
    talk = Stranger()
    talk.log_in()
    assert talk.handshake().error_code == 34
    assert talk.token(PLAIN).error_code == 34
    assert talk.serves()
    assert talk.closed is None


# Time


def test_who_says_nothing_is_given_up():
    talk = Stranger()
    assert talk.session.deadline == 0.0  # at once: it does not know the time yet
    talk.session.wake(talk.now)
    assert talk.session.deadline == talk.now + LOGIN_S
    talk.pass_time(LOGIN_S - 1)
    assert talk.closed is None
    talk.pass_time(1)
    assert "no login within 10 s" in talk.closed


def test_who_says_a_little_at_a_time_is_given_up_too():
    talk = Stranger()
    talk.session.wake(talk.now)
    for _ in range(9):
        talk.send(18, 9, b"")
        talk.out()
        talk.pass_time(1)
    assert talk.closed is None
    talk.pass_time(1)
    assert "no login within 10 s" in talk.closed


def test_who_does_not_take_what_it_is_told_is_given_up_too():
    for rest in ((), ("handshake", "token")):
        talk = Stranger()
        talk.session.wake(talk.now)
        talk.send(18, 99, b"")
        if rest:
            talk.say(17, 1, sasl_handshake.Request("PLAIN"))
            talk.say(36, 1, sasl_authenticate.Request(b"\0al\0brush"))
        talk.pass_time(1)
        assert talk.session.deadline == talk.now + LOGIN_S - 1
        talk.pass_time(LOGIN_S - 1)
        assert "no login within 10 s" in talk.closed
        assert talk.cuts == [talk.closed]


def test_who_has_logged_in_is_not_given_up():
    talk = Stranger()
    talk.session.wake(talk.now)
    talk.log_in()
    assert talk.session.deadline is None
    talk.pass_time(1000)
    assert talk.serves()


def test_who_waits_for_a_hash_of_ours_is_not_given_up():
    talk = Stranger(jobs=[])
    talk.session.wake(talk.now)
    talk.handshake()
    talk.say(36, 1, sasl_authenticate.Request(PLAIN))
    talk.pass_time(2 * LOGIN_S)
    assert talk.closed is None
    talk.jobs.pop()()
    assert len(talk.replies()) == 1
    assert talk.serves()


def test_who_waits_long_for_a_hash_of_ours_is_told_that_the_password_is_wrong():
    talk = Stranger(jobs=[])
    talk.session.wake(talk.now)
    talk.handshake()
    talk.say(36, 1, sasl_authenticate.Request(b"\0al\0brush"))
    talk.pass_time(2 * LOGIN_S)
    assert talk.session.deadline is None
    talk.jobs.pop()()
    talk.session.wake(talk.now)
    assert talk.out() == b""
    talk.pass_time(0.11)
    assert len(talk.replies()) == 1
    assert talk.closed.startswith("login")


def test_what_follows_a_password_waits_until_it_is_checked():
    talk = Stranger(jobs=[])
    talk.handshake()
    talk.say(36, 1, sasl_authenticate.Request(PLAIN))
    last = talk.say(3, 1, metadata.Request(None))
    assert talk.out() == b""
    talk.jobs.pop()()
    assert talk.woken
    assert len(talk.replies()) == 1
    talk.feed(b"")
    assert [correlation for correlation, _ in talk.replies()] == [last]


def test_a_connection_that_is_gone_when_its_password_is_checked():
    talk = Stranger(jobs=[])
    talk.handshake()
    talk.say(36, 1, sasl_authenticate.Request(PLAIN))
    talk.session.close()
    talk.jobs.pop()()
    assert talk.out() == b""
    talk.access.change([KeptQuota((("user", "al"),), {"connections_max": 1.0})])
    talk = Stranger(beside=talk)
    assert talk.log_in().error_code == 0  # the one that is gone does not count


# Size


@pytest.mark.parametrize("size", [2**31 - 1, EARLY_BYTES_MAX + 1, -1, 3])
@pytest.mark.parametrize("mechanism", ["", "PLAIN", "SCRAM-SHA-512"])
def test_a_size_that_no_login_has_closes_the_connection_before_anything_is_kept(size, mechanism):
    talk = Stranger()
    if mechanism:
        talk.handshake(mechanism)
    talk.feed(struct.pack(">i", size))
    assert "before a login the most is 16384" in talk.closed
    assert talk.session.wants == 0


def test_a_token_of_an_issuer_may_be_longer():
    for size, closed in ((524_288, False), (524_289, True)):
        talk = Stranger(tokens=Signed())
        talk.handshake("OAUTHBEARER")
        talk.feed(struct.pack(">i", size))
        assert bool(talk.closed) == closed
        if closed:
            assert "sasl.server.max.receive.size is 524288" in talk.closed


def test_the_longest_name_and_password_fit():
    name, password = b"n" * USER_BYTES_MAX, b"p" * PASSWORD_BYTES_MAX
    user = KeptUser(name.decode(), keys_of(password, 4096))
    assert Stranger(users=(user,)).log_in(b"\0%b\0%b" % (name, password)).error_code == 0


def test_after_a_login_requests_may_be_larger():
    talk = Stranger(settings={"sasl.server.max.receive.size": 1024})
    talk.log_in()
    talk.feed(struct.pack(">ihh", 200_000, 3, 1))
    assert talk.closed is None
    assert talk.session.wants == 200_004


def test_what_waits_to_be_checked_counts_as_held():
    talk = Stranger(jobs=[])
    talk.handshake()
    talk.say(36, 1, sasl_authenticate.Request(b"\0al\0" + b"p" * 1000))
    assert talk.session.held_bytes > 1000 + HELD_BYTES


# Users who come and go


def test_with_the_first_user_those_who_came_freely_are_closed():
    talk = Stranger(users=())
    assert talk.serves()
    talk.access.change([ROOT])
    assert "there are users now" in talk.closed


def test_a_user_who_is_removed_is_closed_and_the_others_are_not():
    one = Stranger()
    two = Stranger(beside=one)
    one.log_in()
    two.log_in(b"\0bo\0brush")
    one.access.change(forget=[AL])
    assert "'al' was removed" in one.closed
    assert two.serves()


# Logging in again


REAUTH = {"connections.max.reauth.ms": "60000"}


def test_a_login_is_good_for_a_time_and_can_be_made_again_on_the_same_connection():
    talk = Stranger(settings=REAUTH)
    assert talk.log_in().session_lifetime_ms == 60_000
    for _ in range(3):
        talk.pass_time(55)
        assert talk.log_in().session_lifetime_ms == 60_000
        assert talk.serves()


def test_the_first_request_after_that_time_ends_the_connection():
    talk = Stranger(settings=REAUTH)
    talk.log_in()
    talk.pass_time(61)
    assert talk.closed is None  # only when it is used
    assert not talk.serves()
    assert "the time is over" in talk.closed


def test_after_that_time_a_handshake_is_still_good_and_nothing_but_a_token_follows_it():
    talk = Stranger(settings=REAUTH)
    talk.log_in()
    talk.pass_time(61)
    assert talk.log_in().error_code == 0
    assert talk.serves()
    talk.pass_time(61)
    talk.handshake()
    assert not talk.serves()
    assert talk.closed


def test_requests_between_a_handshake_and_its_token_are_served():
    talk = Stranger(settings=REAUTH)
    talk.log_in()
    talk.handshake()
    assert talk.serves()
    assert talk.token(PLAIN).error_code == 0


def test_another_user_can_not_take_over_the_connection():
    talk = Stranger(settings=REAUTH)
    talk.log_in()
    talk.handshake()
    answer = talk.refused(b"\0bo\0brush")
    assert (answer.error_code, answer.error_message) == (
        58,
        "Cannot change principals during re-authentication from User.al: User.bo",
    )
    assert talk.closed


def test_another_mechanism_is_refused_at_the_token():
    talk = Stranger(settings=REAUTH)
    talk.log_in()
    assert talk.handshake("SCRAM-SHA-256").error_code == 0
    answer = talk.refused(ScramClient("al", "pencil").first())
    assert (answer.error_code, answer.error_message) == (
        58,
        "SASL mechanism 'SCRAM-SHA-256' requested by client is not supported for "
        "re-authentication of mechanism 'PLAIN'",
    )


def test_a_wrong_token_the_second_time_says_which_time_it_was():
    talk = Stranger(settings=REAUTH)
    talk.log_in()
    talk.handshake()
    answer = talk.refused(b"x")
    assert answer.error_message == generic("PLAIN", "re-authentication")


def test_the_answers_of_version_0_have_no_lifetime_and_the_connection_ends_all_the_same():
    talk = Stranger(settings=REAUTH)
    assert talk.log_in(version=0).session_lifetime_ms == 0
    talk.pass_time(61)
    assert not talk.serves()


# Tokens of an issuer


class Signed:
    """A ``Tokens``: ``bo/60`` is a token for bo that is good for a minute."""

    def check(self, token, then):
        user, _, seconds = token.partition("/")
        expires_s = NOW_MS / 1000 + float(seconds or 0)
        then(Bearer(user, expires_s) if seconds else BadToken("it has expired"))


def bearer(token):
    return b"n,,\x01auth=Bearer %b\x01\x01" % token


def test_oauthbearer_is_there_where_an_issuer_is_trusted():
    answer = Stranger().handshake("OAUTHBEARER")
    assert (answer.error_code, answer.mechanisms) == (33, MECHANISMS)
    answer = Stranger(tokens=Signed()).handshake("OAUTHBEARER")
    assert (answer.error_code, answer.mechanisms) == (0, [*MECHANISMS, "OAUTHBEARER"])


def test_a_token_lets_in_for_as_long_as_it_is_good():
    talk = Stranger(tokens=Signed())
    answer = talk.log_in(bearer(b"al/60"), "OAUTHBEARER")
    assert (answer.error_code, answer.auth_bytes, answer.session_lifetime_ms) == (0, b"", 60_000)
    assert talk.serves()
    talk.pass_time(55)
    assert talk.log_in(bearer(b"al/100"), "OAUTHBEARER").session_lifetime_ms == 100_000
    talk.pass_time(101)
    assert not talk.serves()
    assert "the time is over" in talk.closed


def test_the_shorter_of_two_times_counts():
    talk = Stranger(tokens=Signed(), settings=REAUTH)
    assert talk.log_in(bearer(b"al/3600"), "OAUTHBEARER").session_lifetime_ms == 60_000
    talk = Stranger(tokens=Signed(), settings=REAUTH)
    assert talk.log_in(bearer(b"al/7"), "OAUTHBEARER").session_lifetime_ms == 7000


def test_a_bad_token_is_told_in_json_twice_as_the_rfc_has_it():
    talk = Stranger(tokens=Signed())
    talk.handshake("OAUTHBEARER")
    answer = talk.token(bearer(b"bad"))
    assert (answer.error_code, answer.auth_bytes) == (0, b'{"status":"invalid_token"}')
    answer = talk.refused(b"\x01")
    assert (answer.error_code, answer.error_message) == (58, '{"status":"invalid_token"}')
    assert "it has expired" in talk.closed


def test_whom_an_issuer_vouches_for_need_not_be_one_of_our_users():
    talk = Stranger(tokens=Signed())
    talk.log_in(bearer(b"guest-of-theirs/60"), "OAUTHBEARER")
    assert talk.serves()
    talk.access.change([KeptUser("other")])
    assert talk.serves()


def test_a_token_does_not_let_in_who_is_off():
    off = replace(AL, redis="off")
    talk = Stranger(tokens=Signed(), users=(off, ROOT))
    talk.handshake("OAUTHBEARER")
    answer = talk.refused(bearer(b"al/60"))
    assert (answer.error_code, answer.error_message) == (58, generic("OAUTHBEARER"))
    assert "may not log in here" in talk.closed
    talk = Stranger(tokens=Signed())
    talk.log_in(bearer(b"al/60"), "OAUTHBEARER")
    talk.access.change([off])
    talk.handshake("OAUTHBEARER")
    assert talk.refused(bearer(b"al/60")).error_code == 58


def test_a_token_of_another_user_does_not_take_over():
    talk = Stranger(tokens=Signed())
    talk.log_in(bearer(b"al/60"), "OAUTHBEARER")
    talk.handshake("OAUTHBEARER")
    assert "User.al: User.bo" in talk.refused(bearer(b"bo/60")).error_message


# Garbage


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.sampled_from([0, 1, 2, 3]))
def test_garbage_before_a_login_is_a_refusal_or_an_end(frames, stage):
    talk = Stranger()
    if stage == 1:
        talk.versions()
    if stage >= 2:
        talk.handshake("SCRAM-SHA-256", version=stage - 2)
    for frame in frames:
        talk.feed(struct.pack(">i", len(frame)) + frame)
        talk.pass_time(5.1)
        talk.out()
    assert not talk.session._client.rights.who.user


@given(st.integers(1, 50))
def test_a_login_in_pieces_is_the_same_login(piece):
    talk = Stranger()
    frames = talk.frame(18, 0, b"") + talk.frame(17, 1, b"\0\5PLAIN")
    frames += talk.frame(36, 0, struct.pack(">i", len(PLAIN)) + PLAIN)
    for at in range(0, len(frames), piece):
        talk.feed(frames[at : at + piece])
        talk.feed(b"")
    assert len(talk.replies()) == 3
    assert talk.serves()
