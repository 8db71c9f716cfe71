"""The largest legal request of each kind, of both doors: what ``bench.turns`` and the tests send.

They come from the tables of requests and commands. A request with several lists is there once for
each of them; one that the tables say nothing of the size of has to be added here, and a test finds
out where it was not.
"""

import dataclasses
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from logstore.broker.shares.sessions import PARTITIONS_MAX as SHARED_MAX
from logstore.kafka import fetch_codec, wire
from logstore.kafka.messages import share_acknowledge, share_fetch
from logstore.kafka.schema import codec
from logstore.protocols.kafka.apis import APIS, Api
from logstore.protocols.kafka.session import OTHER_BYTES_MAX
from logstore.protocols.resp.command import FEW_MAX, Command
from logstore.protocols.resp.commands import COMMANDS
from logstore.protocols.resp.requests import ARGUMENTS_MAX
from logstore.records.encode import encode

PRODUCE_BYTES = 99 << 20  # of batches; socket.request.max.bytes is 100 MiB with all around them
BYTES_AN_ELEMENT = 5000
RECORDS = 200  # of 1000 bytes, in a batch
HEADER_BYTES = 64  # of a Kafka request; more than it takes

# Fields that a request needs to get as far as its list.
FACTS = {
    "session_timeout_ms": 10_000, "rebalance_timeout_ms": 10_000, "protocol_type": "consumer",
    "group_id": "g", "member_id": "m", "timeout_ms": 1000, "member_epoch": -1,
    "generation_id_or_member_epoch": -1,
}  # fmt: skip

# Requests that were others up to this version: of clients, not of nodes.
ANOTHER_BEFORE = {"add_partitions_to_txn": 3}


@dataclass(frozen=True, slots=True)
class Large:
    """One request, as it is sent; without answer where a Kafka client asks for none."""

    name: str
    data: bytes


# Kafka


def kafka(elements: int = wire.ELEMENTS_MAX) -> Iterator[Large]:
    """Requests of every key of the table, with lists of this many elements, as far as legal."""
    for api in APIS.values():
        if api.raw is not None:
            yield from _RAW[api.name](api, elements)
            continue
        yield from _with_lists(api, elements)
        if api.name in ANOTHER_BEFORE:
            yield from _with_lists(
                dataclasses.replace(api, high=ANOTHER_BEFORE[api.name]), elements
            )


def _with_lists(api: Api, elements: int) -> Iterator[Large]:
    paths = list(_lists(api.handler().request, api.high)) or [()]
    for path in paths:
        yield Large(" ".join((api.name, *path[-1:])), _frame(api, _body(api, path, elements)))


def _wires(message: type, version: int) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(message):
        facts = field.metadata["wire"]
        if facts.since <= version <= facts.until:
            yield field.name, facts


def _lists(message: type, version: int) -> Iterator[tuple[str, ...]]:
    """The paths to the lists of a message."""
    for name, facts in _wires(message, version):
        if facts.repeated:
            yield (name,)
        if facts.of is not None:
            yield from ((name, *rest) for rest in _lists(facts.of, version))


def _body(api: Api, path: Sequence[str], elements: int) -> bytes:
    request = api.handler().request
    write = codec(request, api.high, api.high >= api.flexible).write
    while True:
        out = bytearray()
        write(out, _filled(request, api.high, path, elements, 0))
        if len(out) <= OTHER_BYTES_MAX - HEADER_BYTES or not path:
            return bytes(out)
        elements = int(elements * (OTHER_BYTES_MAX - HEADER_BYTES) / len(out)) - 1


def _filled(message: type, version: int, path: Sequence[str], elements: int, number: int) -> Any:
    """The message with the list at the end of the path filled; ``number`` makes it unique."""
    values = {}
    for name, facts in _wires(message, version):
        if path and name == path[0]:
            count = elements if len(path) == 1 else 1
            if facts.of is None:
                values[name] = [_plain(facts, it) for it in range(count)]
            elif facts.repeated:
                values[name] = [
                    _filled(facts.of, version, path[1:], elements, it) for it in range(count)
                ]
            else:
                values[name] = _filled(facts.of, version, path[1:], elements, 0)
        elif name in FACTS:
            values[name] = FACTS[name]
        elif facts.primitive is not None and not facts.repeated and facts.tag is None:
            value = _plain(facts, number)
            if isinstance(value, str | bytes) or "partition" in name or "index" in name:
                values[name] = value
    return message(**values)


def _plain(facts: Any, number: int) -> Any:
    if facts.primitive is wire.string:
        return f"{number:x}"
    if facts.primitive is wire.blob:
        return b""
    read, _ = facts.primitive(True, False)
    if read is wire.read_uuid:
        return number.to_bytes(16, "big")
    return number % 100 if read is not wire.read_int32 else number


def _frame(api: Api, body: bytes) -> bytes:
    head = struct.pack(">hhih", api.key, api.high, 1, -1) + b"\0" * (api.high >= api.flexible)
    return struct.pack(">i", len(head) + len(body)) + head + body


def _produce(api: Api, elements: int) -> Iterator[Large]:
    """Many partitions of a topic, and many topics, without batches; many batches; many bytes."""
    head = struct.pack(">hhi", -1, -1, 1000)
    parts = b"".join(struct.pack(">ii", it, -1) for it in range(elements - 1))
    old = dataclasses.replace(api, high=8)
    topic = struct.pack(">ih", 1, 1) + b"t" + struct.pack(">i", elements - 1)
    yield Large("produce partitions", _frame(old, head + topic + parts))
    count = elements // 2
    topics = b"".join(struct.pack(">h8siii", 8, b"%08x" % it, 1, 0, -1) for it in range(count))
    one = bytes(encode([(b"v", None, (), int(time.time() * 1000))]).data)
    parts = b"".join(struct.pack(">ii", it % 3, len(one)) + one for it in range(elements - 1))
    yield Large("produce batches", _frame(old, head + topic + parts))
    many = encode([(bytes(1000), None, (), int(time.time() * 1000))] * RECORDS)
    one = bytes(many.data)
    count = 1 + min(PRODUCE_BYTES, elements * BYTES_AN_ELEMENT) // (len(one) + 8)
    parts = b"".join(struct.pack(">ii", it % 3, len(one)) + one for it in range(count))
    few = struct.pack(">ih", 1, 1) + b"t" + struct.pack(">i", count)
    yield Large("produce bytes", _frame(old, head + few + parts))
    yield Large("produce topics", _frame(old, head + struct.pack(">i", count) + topics))


def _fetch(api: Api, elements: int) -> Iterator[Large]:
    old = dataclasses.replace(api, high=12)
    for name, epoch in (("fetch", -1), ("fetch in a session", 0)):
        asked = [fetch_codec.Asked("t", it, 0, 1 << 20) for it in range(elements)]
        request = fetch_codec.FetchRequest(500, 1, 1 << 20, 0, 0, epoch, asked, [], False)
        body = bytes(fetch_codec.write_request(12, request))
        while len(body) > OTHER_BYTES_MAX - HEADER_BYTES:
            del asked[int(len(asked) * OTHER_BYTES_MAX / len(body)) - 2 :]
            body = bytes(fetch_codec.write_request(12, request))
        yield Large(name, _frame(old, body))


def _share_fetch(api: Api, elements: int) -> Iterator[Large]:
    """Many partitions to read; many with acknowledgements; many acknowledgements of one."""
    places = min(elements, SHARED_MAX)
    asked = [share_fetch.FetchPartition(it) for it in range(places)]
    told = [share_fetch.FetchPartition(it, _batches(1)) for it in range(places)]
    much = [share_fetch.FetchPartition(0, _batches(elements))]
    for name, epoch, partitions in (
        ("share_fetch", 0, asked),
        ("share_fetch acknowledgements", 1, told),
        ("share_fetch batches", 1, much),
    ):
        topics = [share_fetch.FetchTopic(bytes(16), partitions)]
        request = share_fetch.Request(
            "g", "m", epoch, 500, 1, 1 << 20, 500, 500, 0, False, topics, ()
        )
        body = bytearray()
        codec(share_fetch.Request, api.high, True).write(body, request)
        assert len(body) <= OTHER_BYTES_MAX - HEADER_BYTES
        yield Large(name, _frame(api, bytes(body)))


def _batches(count: int) -> Sequence[share_acknowledge.AcknowledgementBatch]:
    return [share_acknowledge.AcknowledgementBatch(2 * it, 2 * it, [1]) for it in range(count)]


_RAW = {"produce": _produce, "fetch": _fetch, "share_fetch": _share_fetch}


# Redis

# Leading arguments of commands that take any number of arguments and look at each.
OPTIONS: dict[str, Sequence[bytes]] = {
    "hello": (b"3",), "auth": (), "ping": (), "quit": (), "client|list": (b"ID",),
    "client|kill": (), "client|pause": (b"1",), "client|unblock": (b"1",),
    "client|tracking": (b"ON", b"BCAST"), "config|get": (), "config|set": (), "info": (),
    "flushdb": (), "flushall": (), "scan": (b"0",), "expire": (b"k", b"1"), "pexpire": (b"k", b"1"),
    "expireat": (b"k", b"1"), "pexpireat": (b"k", b"1"), "copy": (b"a", b"b"),
    "channel.read": (b"c",), "command": (), "command|info": (), "command|docs": (),
    "command|list": (), "acl|cat": (), "acl|deluser": (), "acl|genpass": (), "acl|log": (),
    "acl|dryrun": (b"default", b"PUBLISH"), "acl|setuser": (b"default",),
    "set": (b"k", b"v"), "getex": (b"k",), "memory|usage": (b"k",), "bgsave": (),
    "hrandfield": (b"k",), "hscan": (b"k", b"0"), "sscan": (b"k", b"0"), "zscan": (b"k", b"0"),
    "lpop": (b"k",), "rpop": (b"k",), "lpos": (b"k", b"v"), "lmpop": (b"1", b"k", b"LEFT"),
    "spop": (b"k",), "srandmember": (b"k",), "zrandmember": (b"k",), "zrank": (b"k", b"v"),
    "zrevrank": (b"k", b"v"), "zpopmin": (b"k",), "zpopmax": (b"k",),
    "zmpop": (b"1", b"k", b"MIN"), "zrange": (b"k", b"0", b"1"), "zrevrange": (b"k", b"0", b"1"),
    "zrangebyscore": (b"k", b"0", b"1"), "zrevrangebyscore": (b"k", b"1", b"0"),
    "zrangebylex": (b"k", b"-", b"+"), "zrevrangebylex": (b"k", b"+", b"-"),
    "zrangestore": (b"d", b"k", b"0", b"1"), "script|exists": (), "script|flush": (),
}  # fmt: skip

VALUE_BYTES = 16 << 20  # resp.max.value.size

# Contents of a transaction: commands that are cheap, long to answer, or make work for others.
QUEUED: dict[str, Sequence[bytes]] = {
    "exec": (b"PING",), "info": (b"INFO",), "command": (b"COMMAND",),
    "publish": (b"PUBLISH", b"c", b"v"), "channels": (b"PUBSUB", b"CHANNELS"),
    "read": (b"CHANNEL.READ", b"c", b"0"), "psubscribe": (b"PSUBSCRIBE", b"*a"),
    "set": (b"SET", b"k", b"v"), "incr": (b"INCR", b"k"), "append": (b"APPEND", b"k", b"v"),
}  # fmt: skip


def redis(arguments: int = ARGUMENTS_MAX - 10) -> Iterator[Large]:
    """Every command of the table, including subcommands."""
    for command in all_commands():
        yield Large(command.name, request(words_of(command, arguments)))
    for name, words in QUEUED.items():
        queued = request(words) * (arguments // 5)
        yield Large(f"multi, {name}", request([b"MULTI"]) + queued + request([b"EXEC"]))
    watched = request([b"WATCH", *(b"%x" % it for it in range(arguments - 1))])
    transaction = request([b"MULTI"]) + request([b"PING"])
    yield Large("unwatch, many keys", watched + request([b"UNWATCH"]))
    yield Large("discard, many keys are watched", watched + transaction + request([b"DISCARD"]))
    yield Large("exec, many keys are watched", watched + transaction + request([b"EXEC"]))
    yield Large("a crowd of lines", b"PING\r\n" * arguments)
    yield from of_keys(arguments, VALUE_BYTES)
    yield from of_collections(arguments)
    yield from of_scripts(arguments // 2)


def of_keys(keys: int, value_bytes: int) -> Iterator[Large]:
    """Values of the maximum size and above; many keys that expire at once."""
    value = bytes(value_bytes)
    yield Large("set, the longest value", request([b"SET", b"long", value]))
    yield Large("set, a value that is too long", request([b"SET", b"long", value + b"x"]))
    last = b"%d" % (value_bytes - 1)
    yield Large("setrange, the longest value", request([b"SETRANGE", b"s", last, b"x"]))
    yield Large("setrange, a value of 512 MiB", request([b"SETRANGE", b"s", b"536870911", b"x"]))
    yield Large("append, to the longest value", request([b"APPEND", b"long", b"x"]) * 10)
    yield Large("copy, of the longest value", b"".join([
        request([b"COPY", b"long", b"copy-%d" % it]) for it in range(10)
    ]))  # fmt: skip
    at_once = [request([b"SET", b"x%x" % it, b"", b"PX", b"1"]) for it in range(keys // 20)]
    yield Large("set, a crowd that expires at once", b"".join(at_once))
    yield Large("randomkey, of a crowd that has expired", request([b"RANDOMKEY"]) * 10)
    yield Large("dbsize, of a crowd that has expired", request([b"DBSIZE"]) * 10)


# Commands on very large collections: l, h, s and z, and t, which is as large.
LARGE = [
    b"LRANGE l 0 -1", b"LPOS l none", b"LPOS l 1 COUNT 0", b"LINDEX l 5000", b"LSET l 5000 x",
    b"LINSERT l BEFORE 13ff x", b"LREM l 0 13ff", b"LREM l 0 same", b"COPY l d REPLACE",
    b"LTRIM l 5 -5", b"LPOP l 10000000", b"LMPOP 1 l LEFT COUNT 10000000",
    b"BLMPOP 0 1 l RIGHT COUNT 10000000",
    b"HGETALL h", b"HKEYS h", b"HVALS h", b"HSCAN h 0 COUNT 10000000", b"HINCRBY h 0 1",
    b"HRANDFIELD h 10000 WITHVALUES", b"HRANDFIELD h -50000", b"COPY h d REPLACE",
    b"SMEMBERS s", b"SSCAN s 0 COUNT 10000000", b"SPOP s 5000", b"SPOP s 10000000",
    b"SRANDMEMBER s 10000", b"SRANDMEMBER s -50000", b"SINTER s t", b"SUNION s t", b"SDIFF s none",
    b"SINTERCARD 2 s t LIMIT 3", b"SINTERSTORE d s t", b"SUNIONSTORE d s t", b"SDIFFSTORE d s none",
    b"SMOVE s d 1", b"COPY s d REPLACE", b"MOVE s 1",
    b"ZRANGE z 0 -1 WITHSCORES", b"ZRANGEBYSCORE z -inf +inf", b"ZRANGEBYLEX z - +",
    b"ZRANGESTORE d z 0 -1", b"ZCOUNT z -inf +inf", b"ZLEXCOUNT z - +", b"ZRANK z 1",
    b"ZINCRBY z 1 1", b"ZSCAN z 0 COUNT 10000000", b"ZRANDMEMBER z 10000 WITHSCORES",
    b"ZRANDMEMBER z -50000", b"ZUNION 2 z s", b"ZINTER 2 z s", b"ZDIFF 2 z none",
    b"ZUNIONSTORE d 2 z s", b"ZINTERSTORE d 2 z s", b"ZDIFFSTORE d 1 z", b"ZINTERCARD 2 z s",
    b"ZPOPMIN z 5000", b"ZMPOP 1 z MAX COUNT 5000", b"ZREMRANGEBYRANK z 0 -1",
    b"ZREMRANGEBYSCORE z -inf +inf", b"ZREMRANGEBYLEX z - +", b"COPY z d REPLACE",
    b"DEL l h s z", b"RENAME z d", b"EXPIRE s 0", b"FLUSHALL", b"OBJECT ENCODING z",
    b"MEMORY USAGE s", b"TYPE z",
]  # fmt: skip
KINDS = {b"l": b"RPUSH", b"h": b"HSET", b"s": b"SADD", b"t": b"SADD", b"z": b"ZADD"}


def of_collections(elements: int) -> Iterator[Large]:
    """Commands on collections of this many elements, created before."""
    names = [b"%x" % it for it in range(elements)]
    half = names[: elements // 2]
    for line in LARGE:
        words = line.split(b" ")
        made = []
        for key in dict.fromkeys(it for it in words if it in KINDS):
            elements_of = [it for name in half for it in (name, b"0")] if key == b"h" else names
            if key == b"z":
                elements_of = [it for name in half for it in (b"0", name)]
            elif line == b"LREM l 0 same":
                elements_of = [it for name in half for it in (name, b"same")]
            made.append(request([KINDS[key], key, *elements_of]))
        yield Large(line.decode() + ", large", b"".join(made) + request(words))
    many = [request([b"SADD", b"s%x" % it, b"1"]) for it in range(elements // 20)]
    keys = [b"s%x" % it for it in range(elements // 20)]
    for words in (
        [b"SINTER", *keys], [b"SUNIONSTORE", b"d", *keys], [b"SDIFF", *keys],
        [b"ZUNION", b"%d" % len(keys), *keys], [b"SINTERCARD", b"%d" % len(keys), *keys],
        [b"BLPOP", *[b"none" + it for it in keys], b"1"], [b"WATCH", *keys],
    ):  # fmt: skip
        yield Large(words[0].decode() + " of many sets", b"".join(many) + request(words))


POP_DUE = b"""\
local unix_ts = tonumber(ARGV[1])
local res = redis.call('zrangebyscore', KEYS[1], '-inf', unix_ts)
if #res and redis.call('zremrangebyscore', KEYS[1], '-inf', unix_ts) == #res then
    return res
end"""
PUT_BACK = b"""\
local backed_up = redis.call('ZRANGE', ARGV[2], 0, -1, 'WITHSCORES')
for i = #backed_up, 1, -2 do
    redis.call('ZADD', ARGV[1], backed_up[i], backed_up[i - 1])
end
redis.call('DEL', ARGV[2])"""


def of_scripts(elements: int) -> Iterator[Large]:
    """Scripts on about this many elements of a sorted set."""
    made = request(
        [b"ZADD", b"z", *(word for it in range(elements) for word in (b"1", b"%x" % it))]
    )
    yield Large("eval, huey's, of many", made + request([b"EVAL", POP_DUE, b"1", b"z", b"1"]))
    put_back = request([b"EVAL", PUT_BACK, b"0", b"d", b"z"])
    yield Large("eval, channels_redis's, of many", made + put_back)


def all_commands() -> Iterator[Command]:
    for command in COMMANDS.values():
        if command.run is not None:
            yield command
        yield from command.subcommands.values()


def words_of(command: Command, arguments: int) -> list[bytes]:
    """The words of a command. Raises KeyError if its arguments are not described."""
    words = [word.upper().encode() for word in command.name.split("|")]
    if command.arity >= 0:
        return words + [b"%d" % it for it in range(command.arity - len(words))]
    if command.many:
        return words + [b"%x" % it for it in range(arguments - len(words))]
    words += OPTIONS[command.name]
    return words + [b"%d" % it for it in range(FEW_MAX - len(words))]


def request(words: Sequence[bytes]) -> bytes:
    parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    return b"*%d\r\n%b" % (len(words), parts)
