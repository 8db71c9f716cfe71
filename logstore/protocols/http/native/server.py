"""The process itself, and the jobs that other processes request."""

from logstore.errors import Refused
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor


def described(door: HttpDoor, call: Call) -> None:
    """Reply with version, process id, directory, and the addresses of the doors."""
    call.answer(door.facts())


def jobs(door: HttpDoor, call: Call) -> None:
    """List running and recent upkeep jobs, with their results or errors."""
    call.answer(door.jobs())


def job(door: HttpDoor, call: Call) -> None:
    """Run an upkeep job; the reply is a stream of lines. Raises Refused."""
    if door.cluster is not None:
        raise Refused("this node has no topics: they are the cluster's, and so is their upkeep")
    call.lasts = True
    door.job(call.given, call)
