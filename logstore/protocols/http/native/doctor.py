"""The doctor's findings about the process, its directory and its machine, with advice."""

from logstore.errors import LogstoreError
from logstore.protocols.house import Found
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor


def examined(door: HttpDoor, call: Call) -> None:
    """Run the checks in a worker, because a disk or a name service may take long."""

    def answer(found: Found) -> None:
        if isinstance(found, LogstoreError):
            call.fail(found)
        else:
            call.answer(found)

    door.doctor(answer)
