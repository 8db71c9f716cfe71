"""Rights that are asked in a worker while rules change in the sessions' thread."""

import threading

from logstore.access.access import ADMINISTRATOR, Access, Unkept
from logstore.access.identity import Identity
from logstore.access.resources import READ, TOPIC
from logstore.access.rules import Decision
from logstore.kept.users import PREFIX, KeptAccess, KeptRule, KeptUser

AL = Identity("al", "10.0.0.1")
RULE = KeptRule("al", READ, TOPIC, "orders")
USERS = (KeptUser("root", tags=(ADMINISTRATOR,)), KeptUser("al"))


class Overtaken(Access):
    """The rule is taken away, and everybody looks again, before the first decision is told."""

    def decision(self, who: Identity, operation: str, kind: str, name: str) -> Decision:
        found = super().decision(who, operation, kind, name)
        rights, self.asked_again = self.asked_again, None
        if rights is not None:
            self.change(forget=[RULE])
            assert not rights.may(READ, TOPIC, "orders")
        return found

    asked_again = None  # the same rights, or others of the user


def test_an_answer_of_before_a_change_is_not_remembered_after_it() -> None:
    access = Overtaken(Unkept(KeptAccess(USERS, [RULE])))
    for again in (lambda mine: mine, lambda mine: Access.rights(access, AL)):
        mine = Access.rights(access, AL)
        access.asked_again = again(mine)
        assert mine.may(READ, TOPIC, "orders")  # it was, when it was asked
        assert not mine.may(READ, TOPIC, "orders")
        assert not Access.rights(access, AL).may(READ, TOPIC, "orders")
        access.change([RULE])


def test_rules_can_change_while_another_thread_asks() -> None:
    rules = [KeptRule("al", READ, TOPIC, "x" * size, PREFIX) for size in range(1, 200)]
    access = Access(Unkept(KeptAccess(USERS, [RULE])))
    failed: list[BaseException] = []
    over = threading.Event()

    def ask() -> None:
        rights, number = access.rights(AL), 0
        try:
            while not over.is_set():
                number += 1
                assert not rights.may(READ, TOPIC, f"y{number}")
        except BaseException as error:  # noqa: BLE001  told below
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for rule in rules:
            access.change([rule])
        for rule in rules:
            access.change(forget=[rule])
    finally:
        over.set()
        asking.join()
    assert failed == []
