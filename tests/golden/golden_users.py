"""The golden store with users, of schema 5: what is in it, and (run as a program) how it was made.

``python -m tests.golden.golden_users`` writes ``users.tar.gz`` and ``users.json`` beside this file,
with the logstore that is installed. As ``golden_store.py`` they are made once and never again.
"""

import json
import tempfile
from pathlib import Path

from msgspec.structs import asdict

from logstore.kept.users import (
    GLOB,
    PREFIX,
    SHA_256,
    SHA_512,
    KeptPermission,
    KeptQuota,
    KeptRule,
    KeptTopicPermission,
    KeptUser,
    ScramKey,
)
from logstore.storage import users
from tests.golden.golden_store import HERE, commit, open_golden, pack, unpack

KEYS = {
    SHA_256: ScramKey(b"\0salt\xff", 8192, bytes(range(32)), bytes(range(32, 64))),
    SHA_512: ScramKey(b"other salt", 4096, bytes(range(64)), bytes(range(64, 128))),
}
FACTS = (
    KeptUser("root", KEYS, ("administrator",)),
    KeptUser("gr\u00fcn, der 1.", KEYS, ("management", "monitoring")),
    KeptUser("redis", {}, (), "on &news.* &room:[0-9] -@all +publish", ("ab" * 32, "cd" * 32)),
    KeptUser("nobody"),
    KeptRule("gr\u00fcn, der 1.", "read", "topic", "orders"),
    KeptRule("gr\u00fcn, der 1.", "write", "topic", "orders.", PREFIX, True, "10.0.0.1"),
    KeptRule("*", "all", "channel", "secret?\n\udcff*", GLOB, False),
    KeptRule("*", "describe", "cluster", "kafka-cluster"),
    KeptPermission("gr\u00fcn, der 1.", "/", "", "^mail\\..*", ".*"),
    KeptPermission("gr\u00fcn, der 1.", "v" * 255, ".*", ".*", "\udcff"),
    KeptTopicPermission("gr\u00fcn, der 1.", "/", "amq.topic", "^{username}\\.", "^news"),
    KeptQuota((("client-id", None), ("user", "root")), {"producer_byte_rate": 1024.5}),
    KeptQuota((("ip", "10.0.0.1"),), {"connection_creation_rate": 10.0}),
)


def described(store):
    """All that is kept, as JSON has it."""
    kept = users.load(store.internals().groups.environment)
    assert kept.damaged == []
    facts = (*kept.users, *kept.rules, *kept.permissions, *kept.topic_permissions, *kept.quotas)
    return sorted(map(as_json, facts))


def as_json(fact):
    def plain(value):
        return value.decode("latin-1") if isinstance(value, bytes) else asdict(value)

    about = {"of": type(fact).__name__, **asdict(fact)}
    if about.get("rabbit", 0) is None:  # schema 5 had no such field
        del about["rabbit"]
    return json.dumps(about, default=plain)


def main():
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work, "users")
        with open_golden(directory, "write") as store:
            keeping = store.internals().access().change(FACTS)
            assert keeping.error is None
        pack(directory, "users", HERE / "users.tar.gz")
    with tempfile.TemporaryDirectory() as work, open_golden(unpack("users", work)) as store:
        found = {"commit": commit(), "schema": store.status().schema, "facts": described(store)}
    (HERE / "users.json").write_text(json.dumps(found, indent=0) + "\n")


if __name__ == "__main__":
    main()
