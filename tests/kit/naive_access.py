"""What rules in three languages allow, said as plainly as can be: every rule is looked at."""

import re

import naive_patterns

IMPLIED = {
    "describe": {"read", "write", "delete", "alter"},
    "describe-configs": {"alter-configs"},
}
BY_PERMISSION = {
    "read": {"read"}, "write": {"write"},
    "create": {"configure"}, "delete": {"configure"}, "alter": {"configure"},
    "alter-configs": {"configure"},
    "describe": {"read", "write", "configure"}, "describe-configs": {"read", "write", "configure"},
}  # fmt: skip
BY_KEY = {"read": "R", "write": "W", "delete": "W", "describe": "RW"}


class NaiveAccess:
    """Facts in lists."""

    def __init__(self):
        self.users = {}
        self.rules = []
        self.permissions = {}

    def may(self, who, operation, kind, name):
        if not self.users:
            return True
        user = self.users.get(who.user)
        if user is None:
            return False
        if "administrator" in user.tags:
            return True
        ours = [
            it for it in self.rules
            if it.kind == kind and it.user in (who.user, "*") and it.host in (who.host, "*")
            and any(about(it, each) for each in spelled(kind, name, allow=it.allow))
        ]  # fmt: skip
        if any(not it.allow and it.operation in (operation, "all") for it in ours):
            return False
        covers = {operation, "all"} | IMPLIED.get(operation, set())
        if any(it.allow and it.operation in covers for it in ours):
            return True
        return self._permitted(who, operation, kind, name) or _by_redis(user, operation, kind, name)

    def _permitted(self, who, operation, kind, name):
        if kind not in ("exchange", "queue"):
            return False
        vhost, plain = name.split(":", 1) if ":" in name else ("/", name)
        permission = self.permissions.get((who.user, vhost))
        return permission is not None and any(
            found(getattr(permission, which), plain) for which in BY_PERMISSION.get(operation, ())
        )

    def may_matching(self, who, operation, kind, pattern, names):
        """Whether all matching names are allowed, which is necessary but not sufficient."""
        return all(
            self.may(who, operation, kind, name)
            for name in names
            if naive_patterns.matches(pattern.encode(), name.encode())
        )


def spelled(kind, name, *, allow):
    """The names for it in rules; in the host ``/`` the host may be left out."""
    if kind not in ("exchange", "queue"):
        return {name}
    vhost, plain = name.split(":", 1) if ":" in name else ("/", name)
    short = set() if vhost != "/" or (allow and ":" in plain) else {plain}
    return {f"{vhost}:{plain}"} | short


def about(rule, name):
    if rule.pattern == "literal":
        return rule.name in (name, "*")
    if rule.pattern == "prefix":
        return name.startswith(rule.name)
    return naive_patterns.matches(rule.name.encode(), name.encode())


def found(regex, name):
    return re.search(regex or "^$", name) is not None


def _by_redis(user, operation, kind, name):
    return any(
        _word_grants(word, operation, kind, name)
        for word in (user.redis or "").replace("(", "").replace(")", "").split()
    )


def _word_grants(word, operation, kind, name):
    if kind == "channel" and word[0] == "&" and operation in ("read", "write", "describe"):
        return naive_patterns.matches(word[1:].encode(), name.encode())
    if kind == "key" and word[0] in "~%" and operation in BY_KEY:
        uses, _, pattern = word.partition("~")
        fits = set(uses[1:] or "RW") & set(BY_KEY[operation])
        return bool(fits) and naive_patterns.matches(pattern.encode(), name.encode())
    return False
