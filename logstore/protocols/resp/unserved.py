"""Commands of Redis 7.2 that do not exist here, with the reason for the error reply."""

from collections.abc import Sequence
from typing import Final

VALUES: Final = "logstore keeps no values of the kind that this is for"
SCRIPTS: Final = "logstore runs no functions and modules"
SERVER: Final = "logstore has no such facility; see 'logstore --help' for its own"
REPLICAS: Final = "logstore has no Redis replicas and no Redis Cluster"

SHOWN_BYTES: Final = 128  # of the arguments, in an error

_OF: Final = {
    VALUES: """
        lcs
        xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup
        xrevrange xsetid xtrim
        geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro
        geosearch geosearchstore
        bitcount bitfield bitfield_ro bitop bitpos getbit setbit
        pfadd pfcount pfdebug pfmerge pfselftest
        migrate restore restore-asking sort sort_ro
    """,
    SCRIPTS: "fcall fcall_ro function module",
    SERVER: """
        debug latency lolwut monitor shutdown slowlog
    """,
    REPLICAS: """
        asking cluster failover psync readonly readwrite replconf replicaof slaveof sync wait
        waitaof
    """,
}

# By the command's name in small letters.
WHY: Final = {
    name.encode(): reason.encode() for reason, names in _OF.items() for name in names.split()
}

# Subcommands of Redis 7.2, which users' rules may also name.
_SUBCOMMANDS: Final = """
    cluster: addslots addslotsrange bumpepoch count-failure-reports countkeysinslot delslots
    delslotsrange failover flushslots forget getkeysinslot help info keyslot links meet myid
    myshardid nodes replicas replicate reset saveconfig set-config-epoch setslot shards slaves slots
    function: delete dump flush help kill list load restore stats
    latency: doctor graph help histogram history latest reset
    memory: doctor malloc-stats purge stats
    module: help list load loadex unload
    script: debug
    slowlog: get help len reset
    xgroup: create createconsumer delconsumer destroy help setid
    xinfo: consumers groups help stream
"""


def _read_subcommands() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for word in _SUBCOMMANDS.split():
        if word.endswith(":"):
            found[word[:-1]] = names = []
        else:
            names.append(word)
    return {name: tuple(names) for name, names in found.items()}


SUBCOMMANDS: Final = _read_subcommands()


def unknown(arguments: Sequence[bytes]) -> bytes:
    """Redis's error for an unknown command, with the reason if Redis has the command."""
    given = b""
    for argument in arguments[1:]:
        if len(given) >= SHOWN_BYTES:
            break
        given += b"'%b' " % shown(argument)[: SHOWN_BYTES - len(given)]
    text = b"unknown command '%b', with args beginning with: %b" % (shown(arguments[0]), given)
    why = WHY.get(arguments[0].lower())
    return text if why is None else b"%b(%b)" % (text, why)


def shown(argument: bytes) -> bytes:
    """The argument as shown in an error: in Redis a NUL ends a text."""
    return argument.partition(b"\0")[0][:SHOWN_BYTES]
