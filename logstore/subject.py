"""The subject of a client's certificate, and the user that it stands for. Pure.

A name is written as Java writes it (RFC 2253), because Kafka's rules and access lists use that
form. Types without a name in RFC 2253 are written by their number, with the value as text where
Java writes the hexadecimal digits of its bytes, which the interpreter does not reveal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from logstore.errors import InvalidSetting

# RFC 2253, 2.3; and its "userId" as RFC 4519 has it.
_WORDS: Final = {
    "commonName": "CN", "localityName": "L", "stateOrProvinceName": "ST",
    "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
    "streetAddress": "STREET", "domainComponent": "DC", "userId": "UID", "userID": "UID",
}  # fmt: skip
# Of the others those that are met.
_NUMBERS: Final = {
    "emailAddress": "1.2.840.113549.1.9.1", "unstructuredName": "1.2.840.113549.1.9.2",
    "surname": "2.5.4.4", "serialNumber": "2.5.4.5", "title": "2.5.4.12",
    "description": "2.5.4.13", "businessCategory": "2.5.4.15", "postalCode": "2.5.4.17",
    "telephoneNumber": "2.5.4.20", "name": "2.5.4.41", "givenName": "2.5.4.42",
    "initials": "2.5.4.43", "generationQualifier": "2.5.4.44", "x500UniqueIdentifier": "2.5.4.45",
    "dnQualifier": "2.5.4.46", "pseudonym": "2.5.4.65", "role": "2.5.4.72",
    "organizationIdentifier": "2.5.4.97",
}  # fmt: skip
_ESCAPED: Final = frozenset(',=+<>#;"\\')  # as Java does: two more than RFC 2253 asks for

Name = Sequence[Sequence[tuple[str, str]]]  # as ``SSLObject.getpeercert`` gives it


@dataclass(frozen=True, slots=True)
class Certificate:
    """The content of a peer's verified certificate."""

    subject: str  # distinguished name
    common_names: tuple[str, ...]
    alternative_names: tuple[tuple[str, str], ...]  # ("DNS", "a.example"), ("email", "a@b.c"), ...
    user: str | None  # by the rules; None: none of them fits


def distinguished_name(name: Name) -> str:
    """RFC 2253: the last part first, and the attributes of one part in their order."""
    return ",".join(
        "+".join(f"{_type(kind)}={_escaped(value)}" for kind, value in part)
        for part in reversed(name)
    )


def _type(kind: str) -> str:
    return _WORDS.get(kind) or _NUMBERS.get(kind, kind)


def _escaped(value: str) -> str:
    text = "".join("\\00" if it == "\0" else f"\\{it}" if it in _ESCAPED else it for it in value)
    if text.startswith(" "):
        text = "\\" + text
    if text.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return text


def certificate(shown: Mapping[str, Any], rules: "Rules") -> Certificate:
    """Of what ``SSLObject.getpeercert`` gives."""
    subject: Name = shown.get("subject", ())
    name = distinguished_name(subject)
    common = tuple(value for part in subject for kind, value in part if kind == "commonName")
    return Certificate(name, common, tuple(shown.get("subjectAltName", ())), rules.user(name))


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: Any  # of re2, which has no types
    parts: tuple[str | int, ...]  # texts, and numbers of groups
    case: str  # "L", "U", ""

    def user(self, subject: str) -> str | None:
        found = self.pattern.fullmatch(subject)
        if found is None:
            return None
        user = "".join(it if isinstance(it, str) else found.group(it) or "" for it in self.parts)
        return user.lower() if self.case == "L" else user.upper() if self.case == "U" else user


@dataclass(frozen=True, slots=True)
class Rules:
    """Maps a distinguished name to a user by the first rule that matches (KIP-371).

    ``RULE:^CN=(.*?),.*$/$1/L, DEFAULT``; ``DEFAULT`` is the name itself.
    """

    rules: tuple[_Rule | None, ...]  # None: DEFAULT

    def user(self, subject: str) -> str | None:
        """None where no rule fits, or an empty name comes out."""
        for rule in self.rules:
            user = subject if rule is None else rule.user(subject)
            if user is not None:
                return user or None
        return None


SETTING: Final = "tls.client.user.rules"


def parse_rules(text: str) -> Rules:
    """Raises InvalidSetting, which says what of it is no rule."""
    rules: list[_Rule | None] = []
    at = 0
    while at < len(text):
        at = _past_blanks(text, at)
        if text.startswith("DEFAULT", at):
            rules.append(None)
            at += len("DEFAULT")
        elif text.startswith("RULE:", at):
            pattern, at = _upto_slash(text, at + len("RULE:"))
            replacement, at = _upto_slash(text, at)
            case = text[at : at + 1] if text[at : at + 1] in ("L", "U") else ""
            at += len(case)
            rules.append(_rule(pattern, replacement, case))
        else:
            raise _wrong(text[at:])
        at = _past_blanks(text, at)
        if at < len(text) and text[at] != ",":
            raise _wrong(text[at:])
        at += 1
    return Rules(tuple(rules) or (None,))


def _past_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _upto_slash(text: str, at: int) -> tuple[str, int]:
    """What stands before the next slash that has no backslash, and where it goes on behind it."""
    out, begin = [], at
    while at < len(text) and text[at] != "/":
        if text[at] == "\\" and text[at + 1 : at + 2] == "/":
            at += 1  # it stands for a slash
        elif text[at] == "\\":
            out.append(text[at])
            at += 1
        out.append(text[at : at + 1])
        at += 1
    if at >= len(text):
        raise _wrong(text[begin:])
    return "".join(out), at + 1


def _rule(pattern: str, replacement: str, case: str) -> _Rule:
    import re2  # a rule is rare, and it is no small library

    try:
        compiled = re2.compile(pattern)
    except re2.error as error:
        raise InvalidSetting(f"{SETTING}: {pattern}: not a regular expression: {error}") from None
    parts: list[str | int] = []
    literal, at = "", 0
    while at < len(replacement):
        digits = ""
        if replacement[at] == "$":
            digits = replacement[at + 1 : at + 2]
        if digits.isdecimal() and digits.isascii():
            if int(digits) > compiled.groups:
                raise InvalidSetting(
                    f"{SETTING}: {replacement}: ${digits}, and {pattern} has {compiled.groups} "
                    f"groups"
                )
            parts += [literal, int(digits)]
            literal, at = "", at + 2
        else:
            literal += replacement[at]
            at += 1
    return _Rule(compiled, (*parts, literal), case)


def _wrong(rest: str) -> InvalidSetting:
    return InvalidSetting(
        f"{SETTING}: {rest!r}: must be RULE:pattern/replacement/, followed by L or U for lower"
        " or upper case if needed, or DEFAULT, separated by commas"
    )
