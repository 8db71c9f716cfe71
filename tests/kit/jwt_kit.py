"""An issuer of tokens, in a test's own hands."""

import base64
import json

import pytest

joserfc = pytest.importorskip("joserfc")

from joserfc import jws  # noqa: E402
from joserfc.jwk import ECKey, OctKey, RSAKey  # noqa: E402
from joserfc.jws import JWSRegistry  # noqa: E402

RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
SHARED = OctKey.generate_key(256, {"kid": "oct"})
NOW_S = 1_800_000_000.0


def public(*keys, **more):
    """The issuer's public set of these keys."""
    return json.dumps({"keys": [it.as_dict(private=False) | more for it in keys]}).encode()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims, key=RSA, algorithm="RS256", **header):
    """A signed token; ``claims`` may be bytes."""
    body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    header = {"alg": algorithm, "kid": key.kid} | header
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return jws.serialize_compact(
        {name: it for name, it in header.items() if it is not None}, body, key, registry=registry
    )


def claims(**more):
    found = {"sub": "al", "exp": NOW_S + 600, "iat": NOW_S, "iss": "us", "aud": "logstore"} | more
    return {name: it for name, it in found.items() if it is not None}
