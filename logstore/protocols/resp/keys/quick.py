"""GET and SET, many at once, without all that other commands need.

For a client that may do everything, where nobody is to be told of a change. What is not as simple
as most is left to whoever carries out any command.
"""

from collections.abc import Sequence
from typing import Any, Final

from logstore.broker.keys.keyspace import KEY_BYTES
from logstore.broker.keys.levels import Level
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.replies import OK

_GET: Final = (b"GET", b"get")  # as programs spell it
_SET: Final = (b"SET", b"set")
VERBS: Final = _GET + _SET
REPLIES_BYTES_MAX: Final = 1 << 20  # then what is there is sent first


def carry_out(client: RespClient, requests: Sequence[Any], at: int) -> tuple[int, int]:
    """Those from ``at`` on, up to one that is not that simple.

    The place of that one, and how many bytes were replied.
    """
    keys, database = client.door.keys, client.database
    space, journal = keys.databases[database], keys.journals[database]
    if space.told is not None or space.touch is not None or space.levels.rules:
        return at, 0
    values, deadlines, order = space.values, space.deadlines, space.order
    dirty, level = space.dirty, space.levels.default
    reply, null, kept = client.out.append, client.null(), level is not Level.NONE
    begin, before = len(client.out), at
    unsafe = bool(journal.unsafe)
    written = misses = grown = size = 0
    for request in requests[at:] if at else requests:
        if type(request) is not list:
            break
        words = len(request)
        if words == 2 and request[0] in _GET:
            key = request[1]
            value = values.get(key) if type(key) is bytes else key
            if type(value) is not bytes:
                if value is not None:
                    break
                misses += 1
                reply(null)
            elif key in deadlines:
                break
            else:
                size += len(value)
                reply(b"$%d\r\n%b\r\n" % (len(value), value))
            if unsafe and (turn := journal.unsafe_since(key)):
                client.depend(journal, turn)
            at += 1
            if size > REPLIES_BYTES_MAX:
                break
            continue
        if words != 3 or request[0] not in _SET:
            break
        _, key, value = request
        if type(key) is not bytes or type(value) is not bytes or key in deadlines:
            break
        old = values.get(key)
        if old is None:
            order.add(key)
            grown += KEY_BYTES + len(key) + len(value)
        elif type(old) is bytes:
            grown += len(value) - len(old)
        else:
            break
        if kept and key not in dirty:
            dirty[key] = (old, None)
        values[key] = value
        reply(OK)
        written += 1
        at += 1
    done = at - before
    reads = done - written
    space.hits += reads - misses
    space.misses += misses
    counts = client.door.counts
    counts.executed += done
    for name, count in (("get", reads), ("set", written)):
        if count:
            counts.calls[name] = counts.calls.get(name, 0) + count
            client.last_command = name
    if written:
        space.contents.bytes += grown
        if kept:
            space.wrote(level)
            client.note_stirred()
    if client.depends:
        client.note_unsaved(begin, each=True)
    return at, size + 8 * done
