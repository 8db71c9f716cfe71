"""RabbitMQ's management API without sockets, on queues that are real, for users that are not."""

import base64
import json

from amqp_users import Users
from heard_audit import Heard
from http_kit import HttpPeer, answers, request
from queue_parts import Lives

from logstore.access.identity import OWNER
from logstore.protocols.http.common.node import Node

NOT_FOUND = {"error": "Object Not Found", "reason": "Not Found"}
REFUSED = {"error": "not_authorised", "reason": "Access refused."}


class Api:
    """``ask`` as the owner of the data directory, or as a user with the password "secret"."""

    def __init__(self, node, users=None, **more):
        self.node = node
        self.users = users or Users()
        self.audit = Heard()
        self.more = {"node": Node(cluster_name="here", clock=node.clock), **more}
        self.headers = {}  # of the last answer

    def peer(self, who):
        node = self.node
        return HttpPeer(
            queues=node.queues, access=self.users.access, who=who, audit=self.audit,
            logins=self.users.logins, clock=node.clock, **self.more,
        )  # fmt: skip

    def ask(self, method, path, value=None, *, user=None, headers=()):
        """The status, and the answer; None for one without a body."""
        peer = self.peer(OWNER if user is None else None)
        given = b"" if value is None else value
        body = given if isinstance(given, bytes) else json.dumps(given).encode()
        if user is not None:
            told = base64.b64encode(f"{user}:secret".encode()).decode()
            headers = (*headers, f"authorization: Basic {told}")
        sent = request(method, f"/api/{path}", body, *headers)
        out = peer.say(sent.replace(b"host: x", b"host: localhost"))

        def answered():
            nonlocal out
            out += peer.out()
            return peer.session._call is None

        self.node.run(until=answered)
        if user is not None and peer.session._later is not None:  # a wrong password is slow
            out += peer.pass_time(10)
        [(status, self.headers, answer)] = answers(out)
        return status, json.loads(answer) if answer else None

    def get(self, path, **more):
        status, value = self.ask("GET", path, **more)
        assert status == 200, value
        return value

    def put(self, path, value=None, status=201, **more):
        found = self.ask("PUT", path, {} if value is None else value, **more)
        assert found == (status, None)

    def post(self, path, value, status=200, **more):
        found, answer = self.ask("POST", path, value, **more)
        assert found == status, answer
        return answer

    def delete(self, path, status=204, **more):
        assert self.ask("DELETE", path, **more) == (status, None)

    def refuses(self, method, path, value=None, status=400, **more):
        """The reason of a refusal."""
        found, answer = self.ask(method, path, value, **more)
        assert found == status, answer
        assert answer.keys() == {"error", "reason"}
        return answer["reason"]


def new_api(path, **more):
    """(Lives, Api)"""
    lives = Lives(path)
    return lives, Api(lives.open(), **more)
