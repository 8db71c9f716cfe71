"""Users of a directory that no server has yet."""

from logstore import open as open_store
from logstore.access.access import ADMINISTRATOR
from logstore.access.resources import ALL, GROUP, TOPIC
from logstore.access.scram_keys import keys_of
from logstore.kept.users import KeptRule, KeptUser

ROUNDS = 4096  # as few as there may be: a test logs in often


def a_user(name, password, *tags):
    return KeptUser(name, keys_of(password.encode(), ROUNDS), tags)


def keep(data, *facts):
    """Store these facts in the directory, which is created if it does not exist."""
    with open_store(data) as store:
        keeping = store.internals().access().change(facts)
        assert keeping.done, "nobody else has the directory"
        assert keeping.error is None


def usual(data):
    """``root``, who may do everything, and ``al``, who has topics and groups."""
    keep(
        data,
        a_user("root", "key", ADMINISTRATOR),
        a_user("al", "pencil"),
        KeptRule("al", ALL, TOPIC, "*"),
        KeptRule("al", ALL, GROUP, "*"),
    )
