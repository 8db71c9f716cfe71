"""The client's side of SCRAM, written from RFC 5802, each part of a message to be had wrong."""

import base64
import hashlib
import hmac

HASH = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-512": "sha512"}


def b64(data):
    return base64.b64encode(data).decode()


class ScramClient:
    def __init__(self, name, password, mechanism="SCRAM-SHA-256", nonce="clientnonce", header="n,,",
                 extensions=""):  # fmt: skip
        self.hash = HASH[mechanism]
        self.password = password.encode()
        self.nonce, self.header = nonce, header
        self.bare = f"n={name.replace('=', '=3D').replace(',', '=2C')},r={nonce}{extensions}"

    def _mac(self, key, text):
        return hmac.digest(key, text, self.hash)

    def first(self):
        return (self.header + self.bare).encode()

    def final(self, server_first, **wrong):
        """``binding``, ``nonce``, ``extensions``, ``proof``: wrong values instead of the right
        ones.
        """
        parts = dict(it.split("=", 1) for it in server_first.decode().split(","))
        salt, rounds = base64.b64decode(parts["s"]), int(parts["i"])
        salted = hashlib.pbkdf2_hmac(self.hash, self.password, salt, rounds)
        client_key = self._mac(salted, b"Client Key")
        stored_key = hashlib.new(self.hash, client_key).digest()
        binding = wrong.get("binding", b64(self.header.encode()))
        nonce = wrong.get("nonce", parts["r"])
        unproven = f"c={binding},r={nonce}{wrong.get('extensions', '')}"
        said = f"{self.bare},{server_first.decode()},{unproven}".encode()
        signature = self._mac(stored_key, said)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self.verifier = b"v=" + b64(self._mac(self._mac(salted, b"Server Key"), said)).encode()
        return f"{unproven},p={b64(wrong.get('proof', proof))}".encode()
