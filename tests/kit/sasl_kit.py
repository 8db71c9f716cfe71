"""A Kafka connection to a door that has users."""

import struct

from door_kit import Talk

from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.passwords import Passwords
from logstore.access.scram_keys import keys_of
from logstore.kafka.messages import api_versions, metadata, sasl_authenticate, sasl_handshake
from logstore.kept.users import KeptAccess, KeptUser

PLAIN = b"\0al\0pencil"
AL = KeptUser("al", keys_of(b"pencil", 4096))
BO = KeptUser("bo", keys_of(b"brush", 4096))
ROOT = KeptUser("root", keys_of(b"key", 4096), (ADMINISTRATOR,))


class Stranger(Talk):
    """A connection to a door that has users; hashes are made when the test says so, or at once."""

    def __init__(self, settings=None, jobs=None, users=(AL, BO, ROOT), beside=None,
                 certificate=None, tokens=None):  # fmt: skip
        self.jobs = jobs
        self.access = Access(Unkept(KeptAccess(users=users)))
        logins = Passwords(self.access, self._job, lambda: 0.0, b"secret", 0.1)
        super().__init__(
            settings=settings, access=self.access, logins=logins, beside=beside,
            certificate=certificate, tokens=tokens,
        )  # fmt: skip

    def _job(self, job, done):
        if self.jobs is None:
            done(job())
        else:
            self.jobs.append(lambda: done(job()))

    @property
    def closed(self):
        return self.session.closed

    def versions(self):
        return self.ask(18, 3, api_versions.Request("x", "1"), api_versions.Response)

    def handshake(self, mechanism="PLAIN", version=1):
        request = sasl_handshake.Request(mechanism)
        return self.ask(17, version, request, sasl_handshake.Response)

    def token(self, token, version=1):
        request = sasl_authenticate.Request(token)
        return self.ask(36, version, request, sasl_authenticate.Response)

    def refused(self, token, version=1):
        """The answer to a token, which is delayed."""
        self.say(36, version, sasl_authenticate.Request(token))
        assert self.out() == b""
        assert self.closed is None
        self.pass_time(0.11)
        [(_, body)] = self.replies()
        return self.read(36, version, sasl_authenticate.Response, body)

    def log_in(self, token=PLAIN, mechanism="PLAIN", version=1):
        assert self.handshake(mechanism).error_code == 0
        return self.token(token, version)

    def serves(self):
        """Whether the server answers a request that requires a login."""
        self.say(3, 1, metadata.Request(None))
        return bool(self.replies())

    def raw(self, token):
        """The answer to a token without a header."""
        self.feed(struct.pack(">i", len(token)) + token)
        return self.out()
