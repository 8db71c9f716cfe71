"""What does it cost to log in, and what does a connection cost that has logged in?

Requests on a connection that has logged in, and on one of a server without users, in
turns (bar: no more than 1.05 times, for there is nothing to do after the handshake). Beside that
stands what a login costs the sessions' thread: by SCRAM, and by PLAIN with a password that was
right before. And what a password costs a worker that was not: 8,192 rounds of SHA-256.
Microseconds of processor time.
"""

from base64 import b64encode
from collections.abc import Callable
from hmac import digest
from pathlib import Path
from struct import Struct
from typing import Any, Final

from bench.harness import Figure, alternate, bound, cpu_seconds, ratio, script, size
from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.passwords import Passwords
from logstore.access.scram import ScramServer
from logstore.access.scram_keys import is_key_of, keys_of, salted
from logstore.config import Config
from logstore.kept.users import SHA_256, KeptAccess, KeptUser
from logstore.protocols.kafka.door import KafkaDoor
from logstore.protocols.kafka.session import KafkaSession

REQUESTS = size(20_000, 20)
LOGINS = size(500, 2)
AFTER_BAR = 1.05
PASSWORD: Final = b"pencil"
USER: Final = KeptUser("al", keys_of(PASSWORD), (ADMINISTRATOR,))
# A header with key, version and correlation id 1, without a client id.
HEAD: Final = Struct(">ihhih")


def at_once(job: Callable[[], Any], done: Callable[[Any], None]) -> None:
    """Run the job as the workers do, but here."""
    done(job())


def logins(access: Access) -> Passwords:
    return Passwords(access, at_once, lambda: 0.0, b"secret", 0.1)


class Peer:
    """A connection to a door with these users."""

    def __init__(self, *users: KeptUser) -> None:
        access = Access(Unkept(KeptAccess(users=users)))
        none: Any = None
        door = KafkaDoor(
            none, none, Config().store, "store", "/data", lambda: 0, at_once,
            access=access, logins=logins(access),
        )  # fmt: skip
        self.session = KafkaSession(door, lambda: None, ("h", 1), ("127.0.0.1", 2))

    def ask(self, key: int, version: int, body: bytes) -> bytes:
        frame = HEAD.pack(HEAD.size - 4 + len(body), key, version, 1, -1) + body
        self.session.receive(memoryview(bytearray(frame)), 1.0)
        return b"".join(bytes(it) for it in self.session.outgoing(1 << 20))

    def log_in(self) -> None:
        token = b"\0al\0" + PASSWORD
        self.ask(17, 1, b"\0\5PLAIN")
        assert self.ask(36, 0, len(token).to_bytes(4) + token)[8:10] == b"\0\0"

    def find_coordinator(self) -> None:
        assert self.ask(10, 0, b"\0\1g")


class Scram:
    """A login by SCRAM that is the same each time: the client has its part ready."""

    def __init__(self, found: Passwords) -> None:
        self._found = found
        self._first = b"n,,n=al,r=client"
        [said] = self._steps(self._first)
        key = USER.scram[SHA_256]
        whole = b"n=al,r=client," + said + b",c=biws,r=clientserver"
        salted_password = salted(SHA_256, PASSWORD, key.salt, key.iterations)
        client_key = digest(salted_password, b"Client Key", "sha256")
        signature = digest(key.stored_key, whole, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._final = b"c=biws,r=clientserver,p=" + b64encode(proof)

    def _steps(self, *tokens: bytes) -> list[Any]:
        server = ScramServer(
            SHA_256, lambda name: self._found.find(SHA_256, name), lambda: "server"
        )
        steps: list[Any] = []
        for token in tokens:
            server.take(token, steps.append)
        return steps

    def log_in(self) -> None:
        assert self._steps(self._first, self._final)[-1].user == "al"


def measure(_: Path, rounds: int) -> list[Figure]:
    free, known = Peer(), Peer(USER)
    known.log_in()

    def requests(peer: Peer) -> Callable[[], float]:
        def work() -> None:
            for _ in range(REQUESTS):
                peer.find_coordinator()

        return lambda: cpu_seconds(work) / REQUESTS * 1e6

    sides = {"logged in": requests(known), "without users": requests(free)}
    taken = alternate(sides, rounds, warm=1)
    found = logins(Access(Unkept(KeptAccess(users=[USER]))))
    scram = Scram(found)

    def plain() -> None:
        told: list[Any] = []
        found.check(b"al", PASSWORD, "127.0.0.1", told.append)
        assert told[0].user == "al"

    def each(work: Callable[[], object], count: int) -> list[float]:
        def all_of_them() -> None:
            for _ in range(count):
                work()

        return [cpu_seconds(all_of_them) / count * 1e6 for _ in range(rounds)]

    plain()
    return [
        ratio(
            "a request after the handshake", "us", taken, ours="logged in", theirs="without users",
            bar=AFTER_BAR, at_least=False,
        ),
        bound("a login by SCRAM", "us", each(scram.log_in, LOGINS), bar=None),
        bound("by PLAIN, of one who was there before", "us", each(plain, LOGINS), bar=None),
        bound("a password's hash, by a worker", "us",
              each(lambda: is_key_of(SHA_256, USER.scram[SHA_256], PASSWORD), 2), bar=None),
    ]  # fmt: skip


if __name__ == "__main__":
    script(__doc__, measure)
