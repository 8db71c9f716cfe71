"""Files that settings name, read and checked: secrets of one line, authorities, certificates.

No error message contains a file's content.
"""

import ssl
from pathlib import Path

from logstore.errors import Failed, InvalidSetting


def read(path: Path, bytes_max: int) -> bytes:
    """Read a file, up to a maximum size. Raises Failed."""
    try:
        with open(path, "rb") as file:
            return file.read(bytes_max)
    except OSError as error:
        raise Failed(f"{path}: can't be read: {error.strerror}") from None


def line(path: Path, what: str, bytes_min: int, bytes_max: int) -> str:
    """The only line of a file. ``what``: its meaning, for people. Raises InvalidSetting, Failed."""
    content = read(path, bytes_max + 2).removesuffix(b"\n").removesuffix(b"\r")
    return checked(str(path), content, what, bytes_min, bytes_max)


def checked(where: str, raw: bytes, what: str, bytes_min: int, bytes_max: int) -> str:
    """The text, if it is one line. Raises InvalidSetting."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise InvalidSetting(f"{where}: the {what} is not UTF-8") from None
    if not bytes_min <= len(raw) <= bytes_max or not text.isprintable():
        raise InvalidSetting(
            f"{where}: the file must hold a {what} and nothing else: one line of {bytes_min} to"
            f" {bytes_max} bytes"
        )
    return text


def trusting(ca: Path | None) -> ssl.SSLContext:
    """Of who connects: the other end has to show who it is, by authorities in a file; without one
    by those that the system trusts. Raises Failed.
    """
    if ca is not None:
        read(ca, 1)  # which says why, where it can't be
    try:
        context = ssl.create_default_context(cafile=ca)
    except (ssl.SSLError, OSError) as error:
        raise Failed(f"{ca}: not a certificate in PEM: {words(error)}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def words(error: Exception) -> str:
    """OpenSSL's message."""
    reason = getattr(error, "reason", None)
    return reason.replace("_", " ").lower() if isinstance(reason, str) else "not understood"
