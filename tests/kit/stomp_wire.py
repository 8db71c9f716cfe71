"""Frames of STOMP as a client writes and reads them."""

from logstore.stomp.frames import header_lines, read_head
from logstore.stomp.versions import FIRST, RULES


def frame(command, headers=(), body=b"", version="1.2"):
    """A frame as a client writes it, without a length unless the test gives one."""
    rules = FIRST if command in ("CONNECT", "STOMP") else RULES[version]
    return (
        command.encode() + b"\n" + header_lines(dict(headers).items(), rules) + b"\n" + body + b"\0"
    )


class Said:
    """A frame that has come from the server."""

    def __init__(self, command, headers, body):
        self.command, self.headers, self.body = command, headers, body

    def __repr__(self):
        return f"{self.command} {self.headers} {self.body!r}"

    def __getitem__(self, name):
        return self.headers.get(name)


def said(raw, version):
    """All frames of these bytes, which must be complete."""
    rules, found = RULES.get(version, FIRST), []
    while raw := raw.lstrip(b"\n"):
        head, _, rest = raw.partition(b"\n\n")
        of = FIRST if head.startswith(b"CONNECTED") else rules
        command, headers = read_head(head, of)
        size = headers.pop("content-length", None)
        body = rest[: int(size)] if size is not None else rest.partition(b"\0")[0]
        assert rest[len(body) : len(body) + 1] == b"\0"
        found.append(Said(command, headers, body))
        raw = rest[len(body) + 1 :]
    return found
