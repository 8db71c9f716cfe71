"""JSON web tokens (RFC 7519), signed by one of a set of keys (RFC 7517). Needs joserfc.

Only algorithms with public keys are supported. With a shared key, anyone who can check tokens could
also create them, and a public key could be misused as a shared key.
"""

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry
from joserfc.jws import JWSRegistry

from logstore.access.administration import check_user
from logstore.access.tokens import BadToken, Bearer, UnknownKey
from logstore.errors import InvalidName, Refused

ALGORITHMS: Final = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}  # and the type of their keys
RSA_BITS_MIN: Final = 2048  # RFC 7518, 3.3
CURVE: Final = "P-256"  # of ES256
TOKEN_BYTES_MAX: Final = 128 << 10
KEYS_MAX: Final = 1000  # issuers have a handful
SECONDS_MAX: Final = 2**53  # JSON's numbers are exact to here

_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token must contain."""

    user_claim: str = "sub"
    issuer: str = ""  # "" : any
    audiences: tuple[str, ...] = ()  # one of these; none: any
    skew_s: float = 30.0  # by which clocks may differ


@dataclass(frozen=True, slots=True)
class Key:
    """One public key of an issuer."""

    kid: str | None
    kind: str
    algorithm: str | None  # the one that it is for; None: any of its kind
    key: Any


def keys_of(text: bytes) -> Sequence[Key]:
    """The usable keys of a set. Raises Refused if there is none."""
    try:
        found = json.loads(text)
        rows = found["keys"]
        keys = [key for row in rows[:KEYS_MAX] if (key := _key(row)) is not None]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused('not a set of keys: {"keys": [...]} (RFC 7517, 5)') from None
    if not keys:
        raise Refused(f"it has no key for {', '.join(ALGORITHMS)}")
    return keys


def _key(row: object) -> Key | None:
    """The key; None: its kind is not used here."""
    if not isinstance(row, dict) or row.get("use", "sig") != "sig":
        return None
    kind, algorithm, kid = str(row.get("kty")), row.get("alg"), row.get("kid")
    if kind not in ALGORITHMS.values() or not isinstance(kid, str | None):
        return None
    if algorithm is not None and ALGORITHMS.get(algorithm) != kind:
        return None
    public = {name: row[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in row}
    try:
        if not (_bits(row["n"]) >= RSA_BITS_MIN if kind == "RSA" else row["crv"] == CURVE):
            return None
        key: Any = JWKRegistry.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return Key(kid, kind, algorithm, key)


def _bits(number: str) -> int:
    return int.from_bytes(_decoded(number)).bit_length()


def verify(token: str, keys: Sequence[Key], wanted: Wanted, now_s: float) -> Bearer | BadToken:
    """The user that a valid token names."""
    if len(token) > TOKEN_BYTES_MAX or not _TOKEN.fullmatch(token):
        return BadToken("it is not a signed JSON web token")
    head, body, _ = token.split(".")
    header = _object(head)
    if header is None or "crit" in header:
        return BadToken("its header is none that is understood here")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        return BadToken("it is not signed by " + ", ".join(ALGORITHMS))
    key = _fitting(keys, kid, algorithm)
    if key is None:
        return UnknownKey("it is signed by a key that the issuer's set has not")
    if not _is_signed(token, key, algorithm):
        return BadToken("its signature is wrong")
    claims = _object(body)
    if claims is None:
        return BadToken("its claims are not a JSON object")
    return _judged(claims, wanted, now_s)


def _fitting(keys: Sequence[Key], kid: object, algorithm: str) -> Key | None:
    """The key with that name; for a token without a key name, the only key."""
    fit = [
        it for it in keys if it.kind == ALGORITHMS[algorithm] and it.algorithm in (None, algorithm)
    ]
    if kid is not None:
        fit = [it for it in fit if it.kid == kid]
    elif len(keys) > 1:
        return None
    return fit[0] if fit else None


def _is_signed(token: str, key: Key, algorithm: str) -> bool:
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = TOKEN_BYTES_MAX
    try:
        jws.deserialize_compact(token, key.key, registry=registry)
    except (JoseError, ValueError, TypeError):
        return False
    return True


def _judged(claims: Mapping[str, Any], wanted: Wanted, now_s: float) -> Bearer | BadToken:
    times = {name: _seconds(claims.get(name)) for name in ("exp", "nbf", "iat")}
    expires_s = times["exp"]
    if expires_s is None:
        return BadToken("it has no time at which it expires")
    if expires_s + wanted.skew_s <= now_s:
        return BadToken("it has expired")
    for name in ("nbf", "iat"):
        begins_s = times[name]
        if name in claims and (begins_s is None or begins_s - wanted.skew_s > now_s):
            return BadToken(f"it is not good yet, by its {name}")
    if wanted.issuer and claims.get("iss") != wanted.issuer:
        return BadToken("it is of another issuer")
    if wanted.audiences and not _meant(claims.get("aud"), wanted.audiences):
        return BadToken("it is meant for others")
    user = claims.get(wanted.user_claim)
    try:
        check_user(user if isinstance(user, str) else "")
    except InvalidName:
        return BadToken(f"its {wanted.user_claim} is not the name of a user")
    assert isinstance(user, str)
    # For as long as the clocks may differ it is good after its end, and no longer.
    return Bearer(user, expires_s if expires_s > now_s else expires_s + wanted.skew_s)


def _seconds(value: object) -> float | None:
    """Seconds since 1970, perhaps with a fraction; None: not such a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= SECONDS_MAX else None  # an infinite one is not


def _meant(audience: object, wanted: Sequence[str]) -> bool:
    """RFC 7519, 4.1.3: one name, or several."""
    if isinstance(audience, str):
        return audience in wanted
    return isinstance(audience, list) and any(it in wanted for it in audience)


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(_decoded(text), parse_constant=_no_number)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _no_number(word: str) -> None:
    raise ValueError(word)  # NaN and Infinity are no JSON


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
