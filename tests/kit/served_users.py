"""Users of a server, as its owner manages them: by the socket in its directory."""

from logstore_cli.access_site import ServedAccess

from logstore.access.scram_keys import ITERATIONS_MIN
from logstore.kept.users import KeptPermission, KeptRule, KeptTopicPermission
from logstore.server_socket import ServerSocket

SECRET = "open sesame"  # everyone's password; no log has it


class ServedUsers:
    """One administrator, ``root``, and whoever a test adds."""

    def __init__(self, server):
        self._access = ServedAccess(ServerSocket(str(server.data)))
        self.add("root", "administrator")

    def add(self, name, *tags):
        self._access.add_user(name, SECRET, tags, ITERATIONS_MIN)

    def passwd(self, name, password):
        self._access.set_password(name, password, ITERATIONS_MIN)

    def delete(self, name):
        self._access.delete_user(name)

    def permit(self, name, configure="", write="", read=""):
        self._access.set_permission(KeptPermission(name, "/", configure, write, read))

    def permit_keys(self, name, exchange, write="", read=""):
        self._access.set_permission(KeptTopicPermission(name, "/", exchange, write, read))

    def allow(self, name, operation, kind, what):
        self._access.add_rules([KeptRule(name, operation, kind, what)])

    def disallow(self, name, operation, kind, what):
        self._access.remove_rules([KeptRule(name, operation, kind, what)])
