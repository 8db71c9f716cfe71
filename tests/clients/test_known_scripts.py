"""The scripts of other programs, as they are installed: known here, and done as Redis does them."""

import json
import os
import random
import re
import subprocess
from pathlib import Path

import pytest
from node_clients import needs_node
from own_venv import python_with
from redis_parts import RealRedis, needs_redis
from resp_same import Asker
from serving import Serving

from logstore.protocols.resp.scripts.loaded import Loaded

KIT = Path(__file__).parents[1] / "kit"
KEYS = [b"lock:a", b"b", b"c"]
WORDS = [b"t1", b"t2", b"5", b"3", b"1", b"0", b"60", b"1000", b"1.5", b"PX", b""]
IN_MS = [b"t1", b"t2", b"5000", b"30000", b"100000", b"0", b"PX", b"-1"]  # nothing ends meanwhile
COUNTS = [b"1", b"2", b"3", b"5", b"60", b"1000"]
ROUNDS = 40
SIDEKIQ = b"""
local key, now = KEYS[1], ARGV[1]
local jobs = redis.call("zrange", key, "-inf", now, "byscore", "limit", 0, 1)
if jobs[1] then
  redis.call("zrem", key, jobs[1])
  return jobs[1]
end
"""
# How Redis says where in the script it was.
PLACE = re.compile(rb" script: [0-9a-f]{40}(, on @user_script:\d+\.?)?|, on @user_script:\d+\.?")
NUMBER = re.compile(rb":\d{3,}\r\n|\$\d+\r\n\d{4,}(?:\.\d+)?\r\n")


@pytest.fixture(scope="module")
def texts():
    found = {}
    for environment in ("keys-celery", "scripts"):
        done = subprocess.run(
            [python_with(environment), KIT / "script_texts.py"], capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        found |= json.loads(done.stdout)
    return {name: [it.encode() for it in listed] for name, listed in found.items()}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    real, ours = RealRedis(folder), Serving(folder / "data")
    yield real, ours
    real.stop()
    code, errors = ours.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.mark.long
def test_packages_still_say_what_is_known(texts):
    counts = {"redis": 3, "django_redis": 2, "aiocache": 2, "huey": 1, "aioredlock": 3,
              "channels_redis": 3, "redis_lock": 4, "fastapi_cache": 1, "limits": 6,
              "kombu": 2, "celery": 3}  # fmt: skip
    assert {name: len(found) for name, found in texts.items()} == counts
    for found in texts.values():
        for text in found:
            Loaded().load(text)


NODE_PACKAGES = {
    "redlock@4.2.0": 3, "redlock@5.0.0-beta.2": 3, "rate-limit-redis@6.0.1": 2,
    "rate-limit-redis@4.2.0": 2,
}  # fmt: skip


@needs_node
@pytest.mark.long
def test_packages_of_node_still_say_what_is_known(tmp_path):
    for package, count in NODE_PACKAGES.items():
        done = subprocess.run(
            ["npm", "pack", "--silent", package], cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"npm does not give {package}: {done.stderr[-200:]}")
        source = subprocess.run(
            ["tar", "-xzOf", done.stdout.strip(), "--wildcards", "package/redlock.js"
             if package == "redlock@4.2.0" else "package/dist/*.mjs"
             if package.startswith("rate") else "package/dist/esm/index.js"],
            cwd=tmp_path, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        found = [it for it in re.findall(r"`([^`]*)`", source) if "redis.call(" in it]
        assert len(found) == count, package
        for text in found:
            Loaded().load(text.encode())


def settled(reply):
    """Without what differs by when it was asked, and in which line of a script."""
    if isinstance(reply, tuple):
        return reply[0], [settled(it) for it in reply[1]]
    if reply.startswith(b"-"):
        reply = PLACE.sub(b"", reply)
        if b"user_script" in reply or b"Lua redis" in reply:
            return b"-the script's own fault"
        return reply
    return NUMBER.sub(
        lambda it: b"about %d" % round(float(it[0].split()[-1].strip(b":")), -3), reply
    )


class Same:
    """A client of each server."""

    def __init__(self, both):
        self.both = [Asker(server) for server in both]

    def ask(self, *words, about=None):
        real, ours = (asker.ask(*words) for asker in self.both)
        assert settled(ours) == settled(real), about or words
        return ours

    def prepare(self, chance):
        """Something, or nothing, under each key."""
        self.ask(b"FLUSHALL")
        for key in KEYS:
            token = chance.choice(WORDS)
            for words in chance.choice([
                [], [[b"SET", key, token]], [[b"SET", key, token, b"PX", b"50000"]],
                [[b"SET", key, b"7", b"EX", b"30"]], [[b"RPUSH", key, b"9", b"5", b"3"]],
                [[b"ZADD", key, b"1", b"x", b"2.5", b"y", b"100", b"z"]],
                [[b"RPUSH", key, b"1000", b"60.5"], [b"EXPIRE", key, b"40"]],
            ]):  # fmt: skip
                self.ask(*words)

    def look(self, about):
        for key in (*KEYS, b"lock-signal:a"):
            kind = self.ask(b"TYPE", key, about=about)
            self.ask(b"PTTL", key, about=about)
            if kind == b"+string\r\n":
                self.ask(b"GET", key, about=about)
            elif kind == b"+list\r\n":
                self.ask(b"LRANGE", key, b"0", b"-1", about=about)
            elif kind == b"+zset\r\n":
                self.ask(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES", about=about)

    def close(self):
        for asker in self.both:
            asker.close()


@needs_redis
@pytest.mark.long
def test_they_do_what_redis_does(both, texts):
    seed = int(os.environ.get("REDIS_SEED", random.randrange(2**32)))
    print("REDIS_SEED", seed)
    chance = random.Random(seed)
    same = Same(both)
    for text in (*(text for found in texts.values() for text in found), SIDEKIQ):
        for round_ in range(ROUNDS):
            same.prepare(chance)
            count = chance.choice([2, 3] if b"KEYS[2]" in text else [1, 2, 3])
            keys = [chance.choice(KEYS) for _ in range(count)]
            if b"#ARGV - 1" in text:  # a message and a limit for each key, a time, an expiry
                args = [b"m"] * count + [b"3"] * count + [b"7.25", b"60"]
            else:
                timed = re.search(rb"(?i)px|pexpire|windowms", text)
                words = IN_MS if timed else WORDS
                if b"tonumber(ARGV[2])" in text:  # limits, which reckons with all of them
                    words = COUNTS
                args = [chance.choice(words) for _ in range(4)]
            if b"KEYS[5]" in text:  # Celery's chords
                keys = [chance.choice([*KEYS, b"d", b"e", b"f"]) for _ in range(6)]
                args = [b"task", b"value", chance.choice([b"0", b"1"]), b"3",
                        chance.choice([b"100", b"0"]), b"50", b"60", b"token"]  # fmt: skip
                if b"KEYS[6]" not in text:
                    args = [chance.choice([b"t1", b"5"]), b"60"]
            if b"NAME:" in text:
                keys = []
            words = [b"EVAL", text, b"%d" % len(keys), *keys, *args]
            sha = same.ask(b"SCRIPT", b"LOAD", text)
            if round_ % 2:
                words[:2] = [b"EVALSHA", sha.split(b"\r\n")[1].upper()]
            same.ask(*words)
            same.look(about=(text, words))
    same.close()
