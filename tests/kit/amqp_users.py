"""Users of the RabbitMQ door, who may do what they were given, and log in as the test says."""

from amqp_kit import CAPABILITIES, Door

from logstore.access.access import Access, Unkept
from logstore.access.logins import Login, Nobody
from logstore.access.resources import object_name
from logstore.amqp import frames, methods
from logstore.amqp.replies import Refusal
from logstore.kept.users import KeptAccess, KeptPermission, KeptRule, KeptUser
from logstore.protocols.rabbit_permits import WORDS

DELAY_S = 0.5


class Told(Nobody):
    """``Logins`` whose users have the passwords that they are given here.

    ``held``: answers that were asked for, while they are not given at once.
    """

    def __init__(self, passwords):
        self.passwords = passwords
        self.at_once = True
        self.held = []
        self.asked = []

    def check(self, name, password, host, then):
        self.asked.append((name, password, host))
        right = bool(password) and self.passwords.get(name.decode(errors="replace")) == password
        login = Login(name.decode()) if right else Login(None, self.failed(host))
        if self.at_once:
            then(login)
        else:
            self.held.append(lambda: then(login))

    def admits(self, name):
        return name in self.passwords

    def failed(self, host):
        return DELAY_S


class Users:
    """``al``, ``root`` and whoever else; what they may do changes as the test says."""

    def __init__(self, *names, tags=()):
        users = [KeptUser(name) for name in names]
        users.append(KeptUser("root", tags=("administrator", *tags)))
        self.access = Access(Unkept(KeptAccess(users=users)))
        self.logins = Told({user.name: b"secret" for user in users})

    def door(self, path=None, **given):
        return Door(path, access=self.access, logins=self.logins, **given)

    def add(self, name, *tags):
        self.logins.passwords[name] = b"secret"
        self.access.change(keep=[KeptUser(name, tags=tags)])

    def delete(self, name):
        self.access.change(forget=[self.access.users[name]])

    def permit(self, user, configure="", write="", read="", vhost="/"):
        self.access.change(keep=[KeptPermission(user, vhost, configure, write, read)])

    def allow(self, user, operation, kind, name, vhost="/", **given):
        self.access.change(
            keep=[KeptRule(user, operation, kind, object_name(vhost, name), **given)]
        )

    def forget_rules(self):
        self.access.change(
            forget=[*self.access.rules, *self.access.permissions.values(),
                    *self.access.topic_permissions.values()]
        )  # fmt: skip


def login_of(user, password=b"secret"):
    """The login in PLAIN's form."""
    return b"\0" + user.encode() + b"\0" + password


def opened(door, user="al", **given):
    """A connection of this user with channel 1 open."""
    return door.open(login=login_of(user), **given)


def start(peer, mechanism, response, capabilities=CAPABILITIES):
    """Log in; returns the server's answer."""
    peer.give(frames.PROTOCOL)
    told = methods.ConnectionStartOk(
        {"capabilities": dict(capabilities)}, mechanism, response, "en_US"
    )
    peer.send(told, channel=0)
    return peer.methods()[1:]


def refusal(ask, user="al", vhost="/"):
    """The error for a client that lacks this right."""
    name = ask.name.decode() or "amq.default"
    word = WORDS[ask.operation]
    at = f"{ask.kind} '{name}' in vhost '{vhost}'"
    return Refusal(403, f"{word} access to {at} refused for user '{user}'").text
