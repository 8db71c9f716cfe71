"""The process itself, and the jobs that other processes request."""

from logstore.errors import Refused
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor


def described(door: HttpDoor, call: Call) -> None:
    """Version, number, directory, and where its doors are."""
    call.answer(door.facts())


def jobs(door: HttpDoor, call: Call) -> None:
    """Those of upkeep that run, and those that ended lately: what they did, or why not."""
    call.answer(door.jobs())


def job(door: HttpDoor, call: Call) -> None:
    """Upkeep does it, in its own time; the answer is in lines. Raises Refused."""
    if door.cluster is not None:
        raise Refused("this node has no topics: they are the cluster's, and so is their upkeep")
    call.lasts = True
    door.job(call.given, call)
