"""Short histories of transactions, for a ``lossy_transactions.Machine``."""

from lossy_transactions import ABORT, COMMIT

from logstore.broker.transactions.transactional_id import TV1, TV2


def two_in_a_row(machine, version, topics, outcome, *, offsets, roll):
    """Two transactions of one TV1 producer; with ``roll``, each takes several segments."""
    machine.create(*topics)
    client = machine.client("x", version)
    machine.initialize(client)
    for number, its in enumerate((outcome, COMMIT), 1):
        machine.begin(client)
        machine.write(client, *topics * (3 if roll else 1))
        if offsets:
            machine.stage(client, number)
        machine.some()
        machine.end(client, its)
        machine.some()
    machine.run()
    machine.later()
    machine.run()


def two_clients(machine):
    """Two clients, each with an open transaction while the other's ends."""
    machine.create("a", "b")
    x, y = machine.client("x", TV1), machine.client("y", TV2)
    machine.initialize(x)
    machine.initialize(y)
    machine.begin(x)
    machine.write(x, "a", "b")
    machine.begin(y)
    machine.write(y, "b", "a")
    machine.stage(y, 1)
    machine.some()
    machine.end(x, ABORT)
    machine.write(y, "a")
    machine.begin(x)
    machine.write(x, "b")
    machine.stage(x, 2)
    machine.some()
    machine.end(y, COMMIT)
    machine.some()
    machine.write(x, "a")
    machine.begin(y)
    machine.write(y, "a", "a")
    machine.end(x, COMMIT)
    machine.later()
    machine.some()
    machine.end(y, ABORT)
    machine.run()
    machine.later()
    machine.run()


def fenced(machine):
    """Transactions that the next producer aborts, or that have timed out."""
    machine.create("a", "b")
    x, y = machine.client("x", TV1), machine.client("y", TV2)
    machine.initialize(x)
    machine.initialize(y)
    for number in (1, 2):
        machine.begin(x)
        machine.write(x, "a", "b")
        machine.stage(x, number)
        machine.begin(y)
        machine.write(y, "b")
        machine.some()
        machine.initialize(x)
        machine.some()
        machine.take_too_long(y)
        machine.some()
        machine.initialize(y)
    machine.begin(y)
    machine.write(y, "a", "b")
    machine.end(y, COMMIT)
    machine.run()
    machine.later()
    machine.run()


def of_offsets_alone(machine):
    machine.create("a")
    x, y = machine.client("x", TV1), machine.client("y", TV2)
    machine.initialize(x)
    machine.initialize(y)
    for number, outcome in enumerate((COMMIT, ABORT, COMMIT, COMMIT), 1):
        machine.begin(x)
        machine.stage(x, number)
        machine.begin(y)
        machine.stage(y, number)
        machine.some()
        machine.end(x, outcome)
        machine.end(y, outcome)
        machine.some()
        machine.later()
    machine.run()


def a_topic_goes(machine):
    """A topic is deleted during its transaction, and created again before the end."""
    machine.create("a", "b")
    x, y = machine.client("x", TV1), machine.client("y", TV2)
    machine.initialize(x)
    machine.initialize(y)
    machine.begin(x)
    machine.begin(y)
    machine.write(x, "a", "b")
    machine.write(y, "a", "b")
    machine.some()
    machine.end(x, COMMIT)
    machine.some()
    machine.delete("b")
    machine.some()
    machine.create("b")
    machine.begin(x)
    machine.write(x, "b", "a")
    machine.end(y, COMMIT)
    machine.some()
    machine.end(x, ABORT)
    machine.run()
    machine.later()
    machine.run()


def many_beside_one(machine, *, patient=True):
    """One decision is not in every log yet while the journal continues.

    ``patient``: clients wait before they end their transactions.
    """
    machine.create("a", "b")
    x, y = machine.client("x", TV1), machine.client("y", TV1)
    machine.initialize(x)
    machine.initialize(y)
    machine.begin(x)
    machine.write(x, "a", "b")
    machine.stage(x, 1)
    machine.some(6 * patient)
    machine.end(x, COMMIT)
    for number, outcome in enumerate([COMMIT, ABORT, COMMIT, COMMIT, COMMIT], 1):
        machine.begin(y)
        machine.write(y, "b")
        machine.stage(y, number)
        machine.some(6 * patient)
        machine.end(y, outcome)
        machine.trim()
        machine.some(6 * patient)
    machine.run()


HISTORIES = [two_clients, fenced, many_beside_one, of_offsets_alone, a_topic_goes]
