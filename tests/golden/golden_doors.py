"""The golden store of the MQTT and Redis doors: what is in it, and (as a program) how it was made.

``python -m tests.golden.golden_doors`` writes ``doors.tar.gz`` beside this file, with the
logstore that is installed, and ``doors.json``: what clients find in it. It is made once, at the
commit that ``doors.json`` names, and never again.
"""

import json
import signal
import tempfile
from pathlib import Path

import redis

from logstore.mqtt import kinds
from logstore.mqtt.packets import Ack, Publish, Will
from logstore.mqtt.properties import Properties
from tests.golden.golden_store import HERE, commit, pack, unpack
from tests.kit.mqtt_client import MqttClient
from tests.kit.serving import Serving

NEVER = 0xFFFFFFFF
LONG_S = 10**9  # nothing of it is gone by the time somebody looks
SETTINGS = {"mqtt_port": 0, "kafka_tls_port": -1}


def serving(directory):
    return Serving(directory, **SETTINGS)


def by_mqtt(server):
    """Sessions with what waits for them, in all states that QoS 1 and 2 have; retained; a will."""
    reader = MqttClient(server.mqtt, "reader", expiry_s=NEVER)
    reader.subscribe(b"a/+", qos=1)
    reader.subscribe(b"b/#", qos=2)
    reader.subscribe(b"$share/g/c", qos=1)
    writer = MqttClient(server.mqtt, "writer", expiry_s=NEVER)
    for n in range(3):
        writer.send(Publish(b"a/1", b"a%d" % n, 1, pid=10 + n))
        assert writer.get().kind == kinds.PUBACK
        writer.send(Publish(b"b/1", b"b%d" % n, 2, pid=20 + n))
        assert writer.get().kind == kinds.PUBREC
    writer.send(Ack(kinds.PUBREL, 20))  # the others are not released
    assert writer.get().kind == kinds.PUBCOMP
    got = [reader.get() for _ in range(6)]
    first, second, _ = [it for it in got if it.qos == 2]
    reader.send(Ack(kinds.PUBREC, first.pid))
    assert reader.get().kind == kinds.PUBREL
    reader.send(Ack(kinds.PUBCOMP, first.pid))
    reader.send(Ack(kinds.PUBREC, second.pid))
    assert reader.get().kind == kinds.PUBREL
    reader.send(Ack(kinds.PUBACK, next(it.pid for it in got if it.qos == 1)))
    reader.nothing_more()
    reader.close()
    about = Properties(content_type="text/plain", user_properties=(("k", "v"),))
    for topic, payload in ((b"kept/1", b"one"), (b"kept/2", b"two"), (b"kept/2", b"")):
        writer.send(Publish(topic, payload, 1, retain=True, pid=30, properties=about))
        assert writer.get().kind == kinds.PUBACK
    writer.send(Publish(b"c", b"shared", 1, pid=31))
    assert writer.get().kind == kinds.PUBACK
    late = MqttClient(
        server.mqtt, "late", expiry_s=NEVER,
        will=Will(b"wills/late", b"gone", 1, True, Properties(will_delay_s=LONG_S)),
    )  # fmt: skip
    return writer, late


def by_redis(server):
    """Keys of all types, some with a time."""
    keys = redis.Redis(*server.redis, protocol=3)
    keys.set("text", "value")
    keys.set("number", 41)
    keys.incr("number")
    keys.set("timed", "still", ex=LONG_S)
    keys.set("deleted", "x")
    keys.delete("deleted")
    keys.hset("hash", mapping={"a": 1, "b": 2, "c": 3})
    keys.hdel("hash", "b")
    keys.rpush("list", "1", "2", "3")
    keys.lpush("list", "0")
    keys.sadd("set", "x", "y", "z")
    keys.srem("set", "y")
    keys.zadd("zset", {"one": 1, "two": 2.5, "inf": float("inf")})
    with keys.pipeline(transaction=True) as pipe:
        pipe.set("t1", "1").set("t2", "2").execute()
    other = redis.Redis(*server.redis, db=3, protocol=3)
    other.set("flushed", "x")
    other.flushdb()
    other.set("there", "yes")
    keys.close()
    other.close()


def described(server):
    """What clients find. What waits for sessions is taken."""
    keys = redis.Redis(*server.redis, protocol=3, decode_responses=True)
    other = redis.Redis(*server.redis, db=3, protocol=3, decode_responses=True)
    found = {
        "strings": {it: keys.get(it) for it in ("text", "number", "timed", "deleted", "t1", "t2")},
        "timed": keys.ttl("timed") > 0,
        "hash": dict(sorted(keys.hgetall("hash").items())),
        "list": keys.lrange("list", 0, -1),
        "set": sorted(keys.smembers("set")),
        "zset": [[it, str(score)] for it, score in keys.zrange("zset", 0, -1, withscores=True)],
        "keys": keys.dbsize(),
        "other": sorted(other.keys()),
    }
    keys.close()
    other.close()
    reader = MqttClient(server.mqtt, "reader", clean=False, expiry_s=NEVER)
    found["present"] = reader.connack.session_present
    came = []
    while len(came) < 5:
        it = reader.get()
        if isinstance(it, Publish):
            came.append([it.topic.decode(), it.payload.decode(), it.qos, it.dup])
        else:
            came.append(["", f"kind {it.kind}", 0, False])  # PUBREL
    found["reader"] = sorted(came)
    reader.close()
    writer = MqttClient(server.mqtt, "writer", clean=False, expiry_s=NEVER)
    answers = []
    for pid in (21, 22):
        writer.send(Publish(b"b/1", b"again", 2, pid=pid, dup=True))  # known: taken once
        answers.append(writer.get().kind == kinds.PUBREC)
        writer.send(Ack(kinds.PUBREL, pid))
        answers.append(writer.get().kind == kinds.PUBCOMP)
    found["writer"] = answers
    writer.close()
    looker = MqttClient(server.mqtt, "looker")
    looker.subscribe(b"kept/#", qos=1)
    it = looker.get()
    found["retained"] = [it.topic.decode(), it.payload.decode(), it.properties.content_type]
    looker.close()
    return found


def main():
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work, "doors")
        server = serving(directory)
        connections = by_mqtt(server)
        by_redis(server)
        server.stop(signal.SIGKILL)
        for it in connections:
            it.close()
        pack(directory, "doors", HERE / "doors.tar.gz")
    with tempfile.TemporaryDirectory() as work:
        server = serving(unpack("doors", work))
        try:
            found = {"commit": commit(), "schema": 7, "doors": described(server)}
        finally:
            server.stop()
    (HERE / "doors.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
