"""Commands about hashes, lists, sets and sorted sets by chance, of a few keys,
so that they meet."""

ANY_KIND = [b"k1", b"k2", b"k3", b"k4", b"k5"]
ALIKE = b"k6"  # a sorted set of one score: Redis documents ranges of names for no others
KEYS = [*ANY_KIND, ALIKE]
NAMES = [b"a", b"b", b"c", b"d", b"", b"7", b"-3", b"10", b"\xff\x00", b"x" * 60]
TEXTS = [b"", b"1", b"-5", b"9223372036854775807", b"3.5", b"x", b"1e3", b"0x10", b" 1", b"y" * 60]
SCORES = [
    b"0",
    b"1",
    b"1.5",
    b"-2",
    b"3",
    b"inf",
    b"-inf",
    b"+1",
    b"1e2",
    b"x",
    b"nan",
    b"",
    b"0.25",
]
INDEXES = [b"0", b"1", b"2", b"-1", b"-2", b"-100", b"100", b"x", b"01", b"9223372036854775808"]
COUNTS = [b"0", b"1", b"2", b"3", b"-1", b"x", b"100"]
SCORE_ENDS = [
    b"-inf",
    b"+inf",
    b"0",
    b"(1",
    b"1",
    b"(1.5",
    b"3",
    b"(inf",
    b"x",
    b"",
    b"( 1",
    b"nan",
]
NAME_ENDS = [b"-", b"+", b"[a", b"(a", b"[c", b"(c", b"[", b"(", b"a", b"+x", b""]
WITHOUT_ORDER = frozenset({
    b"SMEMBERS", b"SINTER", b"SUNION", b"SDIFF", b"SSCAN", b"HRANDFIELD",
})  # fmt: skip
ANY_WRITE = [b"SET", b"HSET", b"RPUSH", b"SADD", b"ZADD", b"DEL"]


def hash_command(chance):
    key, field = chance.choice(ANY_KIND), chance.choice(NAMES)
    pairs = [
        it
        for _ in range(chance.randint(1, 3))
        for it in (chance.choice(NAMES), chance.choice(TEXTS))
    ]
    fields = [chance.choice(NAMES) for _ in range(chance.randint(1, 3))]
    return chance.choice([
        [b"HSET", key, *pairs], [b"HSET", key, *pairs], [b"HSET", key, *pairs, b"odd"],
        [b"HMSET", key, *pairs], [b"HMSET", key, b"odd"], [b"HSETNX", key, *pairs[:2]],
        [b"HGET", key, field], [b"HMGET", key, *fields], [b"HDEL", key, *fields], [b"HLEN", key],
        [b"HSTRLEN", key, field], [b"HEXISTS", key, field], [b"HKEYS", key], [b"HVALS", key],
        [b"HGETALL", key], [b"HINCRBY", key, field, chance.choice(TEXTS)],
        [b"HINCRBYFLOAT", key, field, chance.choice([*TEXTS, b"0.1", b"-1.25", b"inf"])],
        [b"HRANDFIELD", key, b"100"], [b"HRANDFIELD", key, b"100", b"WITHVALUES"],
        [b"HRANDFIELD", key, chance.choice([b"x", b"0"])], [b"HRANDFIELD", key, b"1", b"x"],
        [b"HRANDFIELD", key, b"-9223372036854775808"], [b"HRANDFIELD", key, b"1", b"2", b"3"],
        [b"HRANDFIELD", key, b"9223372036854775807", b"WITHVALUES"],
        [b"HSCAN", key, b"0"], [b"HSCAN", key, b"0", b"MATCH", b"[a-c]*", b"COUNT", b"5"],
        [b"HSCAN", key, b"x"], [b"HSCAN", key, b"0", b"COUNT", b"0"], [b"HSCAN", key, b"0", b"x"],
    ])  # fmt: skip


def list_command(chance):
    key, other, item = chance.choice(ANY_KIND), chance.choice(ANY_KIND), chance.choice(NAMES)
    items = [chance.choice(NAMES) for _ in range(chance.randint(1, 4))]
    one, two, count = chance.choice(INDEXES), chance.choice(INDEXES), chance.choice(COUNTS)
    end, end2 = (
        chance.choice([b"LEFT", b"right", b"x"][: 3 if chance.random() < 0.1 else 2]) for _ in "12"
    )
    return chance.choice([
        [b"LPUSH", key, *items], [b"RPUSH", key, *items], [b"LPUSHX", key, *items],
        [b"RPUSH", key, *items], [b"RPUSHX", key, *items], [b"LPOP", key], [b"RPOP", key],
        [b"LPOP", key, count], [b"RPOP", key, count], [b"LPOP", key, b"1", b"2"], [b"LLEN", key],
        [b"LINDEX", key, one], [b"LSET", key, one, item], [b"LRANGE", key, one, two],
        [b"LRANGE", key, b"0", b"-1"], [b"LTRIM", key, one, two], [b"LREM", key, count, item],
        [b"LINSERT", key, chance.choice([b"BEFORE", b"after", b"x"]), item, items[0]],
        [b"LPOS", key, item], [b"LPOS", key, item, b"RANK", count],
        [b"LPOS", key, item, b"COUNT", count],
        [b"LPOS", key, item, b"MAXLEN", count, b"RANK", b"-1", b"COUNT", b"0"],
        [b"LPOS", key, item, b"x"],
        [b"RPOPLPUSH", key, other], [b"LMOVE", key, other, end, end2],
        [b"LMPOP", count, key, other, end], [b"LMPOP", b"2", key, other, end, b"COUNT", count],
        [b"LMPOP", b"3", key, other, end],
        [b"LMPOP", b"1", key, end, b"COUNT", b"1", b"COUNT", b"2"],
        [b"LMPOP", b"1", key, end, b"x"],
    ])  # fmt: skip


def set_command(chance):
    key, other, member = chance.choice(ANY_KIND), chance.choice(ANY_KIND), chance.choice(NAMES)
    numbers = chance.random() < 0.4
    members = [
        b"%d" % chance.randint(-9, 9) if numbers else chance.choice(NAMES)
        for _ in range(chance.randint(1, 4))
    ]
    keys = [chance.choice(ANY_KIND) for _ in range(chance.randint(1, 3))]
    size, count = b"%d" % len(keys), chance.choice(COUNTS)
    return chance.choice([
        [b"SADD", key, *members], [b"SADD", key, *members], [b"SADD", key, *members],
        [b"SREM", key, *members], [b"SMOVE", key, other, member], [b"SISMEMBER", key, member],
        [b"SMISMEMBER", key, *members], [b"SCARD", key], [b"SMEMBERS", key],
        [b"SRANDMEMBER", key, chance.choice([b"x", b"0", b"-9223372036854775808"])],
        [b"SRANDMEMBER", key, b"1", b"2"], [b"SPOP", key, chance.choice([b"x", b"0", b"-1"])],
        [b"SPOP", key, b"1", b"2"], [b"SINTER", *keys], [b"SUNION", *keys], [b"SDIFF", *keys],
        [b"SINTERSTORE", key, *keys], [b"SUNIONSTORE", key, *keys], [b"SDIFFSTORE", key, *keys],
        [b"SINTERCARD", size, *keys], [b"SINTERCARD", size, *keys, b"LIMIT", count],
        [b"SINTERCARD", b"9", *keys], [b"SINTERCARD", count, *keys],
        [b"SINTERCARD", size, *keys, b"x"],
        [b"SSCAN", key, b"0", b"COUNT", b"600"], [b"SSCAN", key, b"x"],
    ])  # fmt: skip


def sorted_set_command(chance):
    key, other, member = chance.choice(ANY_KIND), chance.choice(ANY_KIND), chance.choice(NAMES)
    score = chance.choice(SCORES)
    pairs = [
        it
        for _ in range(chance.randint(1, 4))
        for it in (chance.choice(SCORES[:9]), chance.choice(NAMES))
    ]
    members = [chance.choice(NAMES) for _ in range(chance.randint(1, 3))]
    options = chance.sample([b"NX", b"xx", b"GT", b"lt", b"CH"], chance.choice([0, 1, 1, 2]))
    one, two, count = chance.choice(INDEXES), chance.choice(INDEXES), chance.choice(COUNTS)
    low, high = chance.choice(SCORE_ENDS), chance.choice(SCORE_ENDS)
    ends = chance.choice([[one, two], [low, high], [low, high]])
    more = chance.choice([
        [], [b"WITHSCORES"], [b"BYSCORE"], [b"BYSCORE", b"WITHSCORES"], [b"REV"],
        [b"BYSCORE", b"REV", b"LIMIT", count, one], [b"x"], [b"LIMIT", b"0", b"1"],
        [b"REV", b"WITHSCORES"], [b"LIMIT", b"1"],
    ])  # fmt: skip
    limit = chance.choice(
        [[], [], [b"LIMIT", count, one], [b"WITHSCORES"], [b"withscores", b"LIMIT", b"0", count]]
    )
    return chance.choice([
        [b"ZADD", key, *pairs], [b"ZADD", key, *pairs], [b"ZADD", key, *options, *pairs],
        [b"ZADD", key, *options, b"INCR", score, member], [b"ZADD", key, b"INCR", *pairs],
        [b"ZADD", key, score, member, b"1"], [b"ZADD", key, score, member],
        [b"ZINCRBY", key, score, member], [b"ZREM", key, *members], [b"ZCARD", key],
        [b"ZSCORE", key, member], [b"ZMSCORE", key, *members], [b"ZRANK", key, member],
        [b"ZREVRANK", key, member], [b"ZRANGE", key, *ends, *more], [b"ZRANGE", key, *ends, *more],
        [b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"], [b"ZREVRANGE", key, one, two, *more[:1]],
        [b"ZRANGEBYSCORE", key, low, high, *limit], [b"ZREVRANGEBYSCORE", key, high, low, *limit],
        [b"ZRANGESTORE", other, key, *ends, *more], [b"ZCOUNT", key, low, high],
        [b"ZREMRANGEBYRANK", key, one, two], [b"ZREMRANGEBYSCORE", key, low, high],
        [b"ZPOPMIN", key], [b"ZPOPMAX", key], [b"ZPOPMIN", key, count], [b"ZPOPMAX", key, count],
        [b"ZPOPMIN", key, b"1", b"2"],
        [b"ZMPOP", b"2", key, other, chance.choice([b"MIN", b"max", b"x"])],
        [b"ZMPOP", b"1", key, b"MAX", b"COUNT", count],
        [b"ZRANDMEMBER", key, chance.choice([b"x", b"0"])],
        [b"ZRANDMEMBER", key, b"100"], [b"ZRANDMEMBER", key, b"100", b"WITHSCORES"],
        [b"ZSCAN", key, b"0"], [b"ZSCAN", key, b"0", b"MATCH", b"*[ab]*"],
    ])  # fmt: skip


def name_command(chance):
    other, score = chance.choice(ANY_KIND), chance.choice([b"0", b"-0", b"+0"])
    pairs = [it for _ in range(chance.randint(1, 4)) for it in (score, chance.choice(NAMES))]
    first, last = chance.choice(NAME_ENDS), chance.choice(NAME_ENDS)
    count = chance.choice(COUNTS)
    limit = chance.choice([
        [], [], [b"LIMIT", count, chance.choice(INDEXES)], [b"WITHSCORES"],
        [b"withscores", b"LIMIT", b"0", count],
    ])  # fmt: skip
    more = chance.choice([[], [], [b"LIMIT", b"1", count], [b"WITHSCORES"], [b"REV"]])
    ends = chance.choice([[first, last], [first, last], [chance.choice(SCORE_ENDS), last]])
    return chance.choice([
        [b"ZADD", ALIKE, *pairs], [b"ZADD", ALIKE, *pairs], [b"ZADD", ALIKE, b"CH", *pairs],
        [b"ZADD", ALIKE, b"INCR", *pairs[:2]], [b"ZINCRBY", ALIKE, *pairs[:2]],
        [b"ZUNIONSTORE", ALIKE, b"1", other, b"WEIGHTS", score],
        [b"ZRANGEBYLEX", ALIKE, first, last, *limit],
        [b"ZREVRANGEBYLEX", ALIKE, last, first, *limit],
        [b"ZLEXCOUNT", ALIKE, first, last], [b"ZREMRANGEBYLEX", ALIKE, first, last],
        [b"ZRANGE", ALIKE, *ends, b"BYLEX", *more],
        [b"ZRANGESTORE", other, ALIKE, *ends, b"BYLEX", *more],
        [b"ZRANGEBYLEX", other, chance.choice([b"a", b"+x", b""]), last],
        [b"SET", ALIKE, b"x"], [b"DEL", ALIKE], [b"COPY", ALIKE, other, b"REPLACE"],
    ])  # fmt: skip


def union_command(chance):
    keys = [chance.choice(ANY_KIND) for _ in range(chance.randint(1, 3))]
    size, weights = (
        b"%d" % len(keys),
        [chance.choice([b"1", b"2", b"-1", b"0", b"inf", b"x"]) for _ in keys],
    )
    more = chance.choice([
        [], [], [b"WITHSCORES"], [b"WEIGHTS", *weights],
        [b"AGGREGATE", chance.choice([b"MIN", b"max", b"sum", b"x"])],
        [b"WEIGHTS", *weights, b"AGGREGATE", b"MAX", b"WITHSCORES"], [b"x"], [b"WEIGHTS", b"1"],
        [b"LIMIT", chance.choice(COUNTS)],
    ])  # fmt: skip
    name = chance.choice([b"ZUNION", b"ZINTER", b"ZDIFF", b"ZINTERCARD"])
    if chance.random() < 0.5 and name != b"ZINTERCARD":
        return [name + b"STORE", chance.choice(ANY_KIND), size, *keys, *more]
    return [name, chance.choice([size, size, size, size, b"0", b"x", b"9"]), *keys, *more]


def any_command(chance):
    """A command, sometimes on a key of another kind."""
    kind = chance.choice(
        [
            hash_command,
            list_command,
            set_command,
            sorted_set_command,
            name_command,
            union_command,
        ]
    )
    if chance.random() < 0.12:
        key = chance.choice(ANY_KIND)
        return chance.choice([
            [b"SET", key, b"x"], [b"DEL", key], [b"DEL", key], [b"TYPE", key], [b"EXISTS", *KEYS],
            [b"RENAME", key, chance.choice(ANY_KIND)],
            [b"COPY", key, chance.choice(ANY_KIND), b"REPLACE"],
        ])  # fmt: skip
    return kind(chance)
