"""A connection as CLIENT LIST shows it."""

from logstore.protocols.resp.client import RespClient


def kind(client: RespClient) -> bytes:
    return b"pubsub" if client.subscribed else b"normal"


def word(name: str) -> str:
    """Escape a name for a line whose words are separated by spaces."""
    return name.replace("\\", "\\\\").replace(" ", "\\x20")


def line(client: RespClient, now: float) -> str:
    """The client's line in CLIENT LIST; fields that do not apply, such as query buffers, are left
    out.
    """
    channels = client.door.channels
    tracks = client.tracking
    marks = {
        "P": client.subscribed,
        "x": client.queue is not None,
        "b": client.blocked is not None,
        "t": tracks is not None,
        "R": tracks is not None and tracks.broken,
        "B": tracks is not None and b"BCAST" in tracks.modes,
        "e": client.no_evict,
        "T": client.no_touch,
    }
    flags = "".join(mark for mark, holds in marks.items() if holds)
    host, port = client.link.address
    library = {name: text.decode() for name, text in client.library.items()}
    return (
        f"id={client.number} addr={client.link.peer} laddr={host}:{port} "
        f"name={client.name.decode()} age={int(now - client.created_at)} "
        f"idle={int(now - client.active_at)} flags={flags or 'N'} db={client.database} "
        f"sub={channels.names.names_count(client)} psub={channels.patterns.names_count(client)} "
        f"ssub={channels.apart.names_count(client)} "
        f"multi={-1 if client.queue is None else len(client.queue)} omem={client.link.unsent} "
        f"events=r cmd={client.last_command} user={word(client.user)} "
        f"redir={-1 if tracks is None else tracks.redirect} "
        f"resp={client.version} lib-name={library[b'LIB-NAME']} lib-ver={library[b'LIB-VER']}\n"
    )
