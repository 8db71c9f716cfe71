"""Rules in Kafka's language, and the decisions that they lead to."""

import msgspec

from logstore.access import administration
from logstore.access.identity import Identity
from logstore.kept.users import ANYONE, LITERAL, KeptRule, Unreadable
from logstore.protocols.http import paging
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.bounds import Operations
from logstore.protocols.http.native.vhosts import CREATED


class NewRules(msgspec.Struct, forbid_unknown_fields=True):
    """Rules to add, one for each operation."""

    user: str
    operations: Operations
    kind: str
    name: str
    pattern: str = LITERAL
    allow: bool = True
    host: str = ANYONE

    def rules(self) -> list[KeptRule]:
        return [
            KeptRule(
                self.user, operation, self.kind, self.name, self.pattern, self.allow, self.host
            )
            for operation in self.operations
        ]


def listed(door: HttpDoor, call: Call) -> None:
    """List rules in the order of their creation, filtered by the query.

    There may be very many, and lists are requested page by page, so they are not sorted.
    """
    asked = {it: call.word(it) for it in ("user", "kind", "name") if it in call.query}
    rows = door.access.rules
    if asked:
        rows = [it for it in rows if all(getattr(it, name) == word for name, word in asked.items())]
    call.answer(paging.shown(rows, call.page(), row))


def added(door: HttpDoor, call: Call) -> None:
    """Add rules, except those that already exist. Raises Refused, InvalidName."""
    change = administration.new_rules(call.json(NewRules).rules())
    made = [row(it) for it in change.keep if isinstance(it, KeptRule)]
    call.answer_when(door.access.change(*change, by=call.who), made, CREATED)


def removed(door: HttpDoor, call: Call) -> None:
    """Remove rules, allowing or denying ones. Raises NoneOfThatName if one does not exist."""
    change = administration.without_rules(door.access, call.json(NewRules).rules())
    gone = [row(it) for it in change.forget if isinstance(it, KeptRule)]
    call.answer_when(door.access.change(*change, by=call.who), gone)


def checked(door: HttpDoor, call: Call) -> None:
    """Reply whether a user may do this, and which rule says so. Raises Refused."""
    user, host = call.word("user"), call.word("host")
    operation, kind, name = call.word("operation"), call.word("kind"), call.word("name")
    who = Identity(user, host)
    found = administration.check(door.access, who, operation, kind, name, door.keeps_history)
    call.answer({"allowed": found.allowed, "why": found.why})


def damaged_listed(door: HttpDoor, call: Call) -> None:
    """List damaged rows, with their kind and the reason."""
    call.answer(paging.shown(door.access.damaged, call.page(), _damage))


def damaged_removed(door: HttpDoor, call: Call) -> None:
    """Remove all damaged rows."""
    rows = door.access.damaged
    call.answer_when(door.access.change((), rows, by=call.who), [_damage(it) for it in rows])


def _damage(row: Unreadable) -> dict[str, object]:
    return {"damage": str(row), "forbids": row.forbids}


def row(rule: KeptRule) -> dict[str, object]:
    """A rule in the form in which it was given."""
    return {
        "user": rule.user,
        "operation": rule.operation,
        "kind": rule.kind,
        "name": rule.name,
        "pattern": rule.pattern,
        "allow": rule.allow,
        "host": rule.host,
    }
