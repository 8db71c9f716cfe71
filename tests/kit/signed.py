"""Certificates for tests: an authority, what it signs, and what nobody should accept."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR = datetime.timedelta(hours=1)
DAY = 24 * HOUR
SIGNS = x509.KeyUsage(
    digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
    key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
    decipher_only=False,
)  # fmt: skip
HERE = ("localhost", "127.0.0.1", "::1")


def subject(*common_names, **more):
    """``subject("al", ORGANIZATION_NAME="Acme")``, in the certificate's order."""
    parts = [x509.NameAttribute(getattr(NameOID, kind), value) for kind, value in more.items()]
    parts += [x509.NameAttribute(NameOID.COMMON_NAME, it) for it in common_names]
    return x509.Name(parts)


def new_key(kind="ec"):
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, int(kind))


def pem_of_key(key, password=None):
    lock = serialization.NoEncryption()
    if password is not None:
        lock = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def _alternative(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """Signs certificates, and writes them with their keys into a folder."""

    def __init__(self, folder, name="the tests' authority", serial=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key, self.name = new_key(), subject(name)
        self.pem = self._sign(self.name, self.key, authority=True, serial=serial)
        self.path = self.write("ca.pem", self.pem)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def _sign(self, name, key, *, authority=False, names=(), client=False, serial=None,
              starts=-1 * HOUR, lasts=30 * DAY, usage=True, no_text=False):  # fmt: skip
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + starts + lasts)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        # RFC 5280, which Python goes by from 3.13 on.
        for extension in (
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
        ):
            builder = builder.add_extension(extension, critical=False)
        if authority:
            builder = builder.add_extension(SIGNS, critical=True)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(it) for it in names]), critical=False
            )
        if no_text:  # an address of Latin-1, where only ASCII may be
            broken = x509.UnrecognizedExtension(
                x509.ObjectIdentifier("2.5.29.17"), b"\x30\x07\x81\x05\xe4@b.c"
            )
            builder = builder.add_extension(broken, critical=False)
        if usage and not authority:
            use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
            builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        signed = builder.sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def server(self, file="server", names=HERE, kind="ec", **how):
        """(certificate, key), as paths."""
        key = new_key(kind)
        pem = self._sign(subject(names[0] if names else "nobody"), key, names=names, **how)
        return self.write(f"{file}.pem", pem), self.write(f"{file}.key", pem_of_key(key))

    def client(self, *common_names, file=None, key=None, serial=None, no_text=False, **more):
        """(certificate, key) of a client of this name, as paths."""
        key = key or new_key()
        name, how = subject(*common_names, **more), {"serial": serial, "no_text": no_text}
        pem = self._sign(name, key, client=True, **how)
        file = file or "-".join(common_names)
        return self.write(f"{file}.pem", pem), self.write(f"{file}.key", pem_of_key(key))

    def asks(self, certificate=None):
        """A client's context that trusts this authority and shows ``certificate``."""
        context = ssl.create_default_context(cafile=self.path)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context
