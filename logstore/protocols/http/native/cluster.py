"""The Kafka cluster of this node."""

from dataclasses import asdict

from logstore.errors import NoneOfThatName
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor


def shown(door: HttpDoor, call: Call) -> None:
    """Reply with brokers, owners and unacknowledged appends, as of now. Raises NoneOfThatName."""
    if door.cluster is None:
        raise NoneOfThatName(
            "this server keeps its data in a directory: it is not a node of a cluster"
        )
    call.answer(asdict(door.cluster()))
