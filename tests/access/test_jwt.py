"""Which tokens are good: signatures, algorithms, keys, times, whom they name and are meant for."""

import json
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey
from jwt_kit import EC, NOW_S, RSA, SHARED, b64, claims, public, signed

from logstore.access.jwt import SECONDS_MAX, Wanted, keys_of, verify
from logstore.access.tokens import BadToken, Bearer, UnknownKey
from logstore.errors import Refused

numbered = map(str, count())
KEYS = keys_of(public(RSA, EC))
GOOD = Bearer("al", NOW_S + 600)


def judged(token, keys=KEYS, now_s=NOW_S, **wanted):
    return verify(token, keys, Wanted(**wanted), now_s)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256")])
def test_a_token_signed_by_a_key_of_the_issuer_names_a_user(key, algorithm):
    assert judged(signed(claims(), key, algorithm)) == GOOD


def test_header_fields_that_are_not_known_do_not_matter():
    assert judged(signed(claims(), typ="at+jwt", x5t="abc", other=[1])) == GOOD


@pytest.mark.parametrize(
    "algorithm",
    ["HS256", "RS512", "ES384", "none", "None", "", "rs256", None, 1, ["RS256"], {"RS256": 1}],
)
def test_no_other_algorithm_is_taken(algorithm):
    head = b64(json.dumps({"alg": algorithm, "kid": "rsa"}).encode())
    token = f"{head}.{b64(json.dumps(claims()).encode())}.{b64(b'x' * 256)}"
    assert "not signed by" in judged(token).why


def test_a_public_key_is_not_taken_for_a_shared_one():
    for algorithm in ("HS256", "RS256"):
        token = signed(claims(), SHARED, "HS256", kid="rsa")
        head = b64(json.dumps({"alg": algorithm, "kid": "rsa"}).encode())
        assert isinstance(judged(".".join([head, *token.split(".")[1:]])), BadToken)


def test_a_token_without_signature_is_none():
    head, body = b64(b'{"alg":"none"}'), b64(b"{}")
    for token in (f"{head}.{body}.", f"{head}.{body}", "", "a.b.c.d.e", "a.b.c=", "\u00e9.b.c"):
        assert isinstance(judged(token), BadToken)


def test_another_key_of_the_same_name_is_refused():
    other = RSAKey.generate_key(2048, {"kid": "rsa"})
    assert "signature is wrong" in judged(signed(claims(), other)).why


def test_a_key_that_is_not_known_is_told_apart():
    assert isinstance(judged(signed(claims(), kid="new")), UnknownKey)
    assert isinstance(judged(signed(claims(), EC, "ES256", kid="rsa")), UnknownKey)
    head = b64(b'{"alg":"RS256","kid":["rsa"]}')
    assert isinstance(judged(".".join([head, *signed(claims()).split(".")[1:]])), UnknownKey)


def test_a_token_that_names_no_key_is_taken_where_there_is_one_only():
    token = signed(claims(), kid=None)
    assert judged(token, keys_of(public(RSA))) == GOOD
    assert isinstance(judged(token), UnknownKey)


def test_a_key_for_one_algorithm_is_for_no_other():
    keys = keys_of(public(RSA, alg="PS256"))
    assert judged(signed(claims(), algorithm="PS256"), keys) == GOOD
    assert isinstance(judged(signed(claims()), keys), UnknownKey)


def test_critical_header_fields_are_refused():
    head = b64(json.dumps({"alg": "RS256", "kid": "rsa", "crit": ["x"], "x": 1}).encode())
    token = signed(claims())
    assert "header" in judged(".".join([head, *token.split(".")[1:]])).why


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"exp": None}, "no time at which it expires"),
        ({"exp": str(NOW_S + 600)}, "no time"),
        ({"exp": True}, "no time"),
        ({"exp": [NOW_S]}, "no time"),
        ({"exp": SECONDS_MAX * 4}, "no time"),
        ({"exp": NOW_S - 31}, "expired"),
        ({"exp": NOW_S - 30.5}, "expired"),  # a float, which others did not look at
        ({"exp": 0}, "expired"),
        ({"exp": -1e300}, "no time"),
        ({"nbf": NOW_S + 31}, "not good yet, by its nbf"),
        ({"iat": NOW_S + 30.5}, "not good yet, by its iat"),
        ({"nbf": "now"}, "nbf"),
        ({"iat": False}, "iat"),
        ({"sub": None}, "not the name of a user"),
        ({"sub": ""}, "not the name of a user"),
        ({"sub": 7}, "not the name of a user"),
        ({"sub": "a\nb"}, "not the name of a user"),
        ({"sub": "*"}, "not the name of a user"),
        ({"sub": "ANONYMOUS"}, "not the name of a user"),  # in rules: who has not logged in
        ({"sub": "x" * 300}, "not the name of a user"),
        ({"iss": "them"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"iss": ["us"]}, "another issuer"),
        ({"aud": "them"}, "meant for others"),
        ({"aud": None}, "meant for others"),
        ({"aud": []}, "meant for others"),
        ({"aud": {"logstore": 1}}, "meant for others"),
        ({"aud": [["logstore"]]}, "meant for others"),
    ],
)
def test_a_claim_that_is_not_as_it_must_be(more, why):
    outcome = judged(signed(claims(**more)), issuer="us", audiences=("logstore", "other"))
    assert isinstance(outcome, BadToken)
    assert why in outcome.why


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000])
def test_a_time_that_is_no_number_of_json(number):
    body = b'{"sub":"al","exp":%b}' % number
    assert isinstance(judged(signed(body)), BadToken)


def test_clocks_may_differ_a_little():
    assert judged(signed(claims(nbf=NOW_S + 29, iat=NOW_S + 29.5))) == GOOD
    late = judged(signed(claims(exp=NOW_S - 10)))
    assert late == Bearer("al", NOW_S + 20)
    assert isinstance(judged(signed(claims(exp=NOW_S - 10)), skew_s=5), BadToken)


def test_whom_it_is_meant_for_may_be_several():
    token = signed(claims(aud=["x", "logstore"]))
    assert judged(token, issuer="us", audiences=("logstore",)) == GOOD


def test_the_name_can_be_in_another_claim():
    token = signed(claims(sub=None, client_id="bo"))
    assert judged(token, user_claim="client_id") == Bearer("bo", NOW_S + 600)


@pytest.mark.parametrize("body", [b"[]", b"7", b"x", b"\xff", b"[" * 50_000, b'{"a":' * 50_000])
def test_claims_that_are_no_object(body):
    assert isinstance(judged(signed(body)), BadToken)
    token = signed(claims()).split(".")
    assert isinstance(judged(f"{b64(body)}.{token[1]}.{token[2]}"), BadToken)


@given(st.data())
def test_a_token_with_a_byte_changed_is_refused(data):
    token = signed(claims(), EC, "ES256")
    at = data.draw(st.integers(0, len(token) - 2))  # the last has bits that nobody looks at
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    letter = data.draw(st.sampled_from(letters).filter(lambda it: it != token[at]))
    assert isinstance(judged(token[:at] + letter + token[at + 1 :]), BadToken)


# Sets of keys


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{}", b"[]", b'{"keys": 7}', b'{"keys": []}', b'{"keys": [7, null]}', b"\xff",
        b"<html>", b"[" * 50_000, public(SHARED), public(RSA, use="enc"),
        public(ECKey.generate_key("P-384")), public(RSA)[:-40],
        b'{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}',
        b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}',
        b'{"keys": [{"kty": "RSA", "n": 7}]}',
    ],
    ids=numbered,  # keys are others in each process
)  # fmt: skip
def test_a_set_without_a_key_that_can_be_used_is_refused(text):
    with pytest.raises(Refused):
        keys_of(text)


def test_keys_that_can_not_be_used_are_left_out():
    text = json.loads(public(RSA))
    text["keys"] += [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}, {"kty": "OKP"}, {"kid": "b"}]
    assert [it.kid for it in keys_of(json.dumps(text).encode())] == ["rsa"]


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_short_key_is_not_trusted():
    with pytest.raises(Refused):
        keys_of(public(RSAKey.generate_key(1024, {"kid": "short"})))
