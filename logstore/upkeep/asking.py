"""Asks the process that writes the store to do a job, because this process cannot open it."""

from collections.abc import Iterator
from typing import Final

import msgspec

from logstore.errors import Failed
from logstore.server_socket import ServerSocket
from logstore.storage.disk import Disk
from logstore.upkeep.job import Job, Outcome, Progress, Retained, Rewritten, Tell
from logstore.upkeep.work import Broke, Ended

_decode: Final = msgspec.json.Decoder(Retained | Rewritten | Progress | Broke | Ended).decode


def ask(disk: Disk, directory: str, job: Job, tell: Tell) -> Iterator[Outcome]:
    """Ask the process that writes this store to do a job.

    Raises the job's errors; Failed if no process accepts jobs, or if it ends during one.
    """
    ended = False
    for line in ServerSocket(directory, disk).lines("jobs", value=job):
        answer = _decode(line)
        if isinstance(answer, Broke):
            raise answer.error()
        if isinstance(answer, Progress):
            tell(answer)
        elif isinstance(answer, Ended):
            ended = True
        else:
            yield answer
    if not ended:
        raise Failed(
            f"{directory}: the process that writes it ended during {job.name}: run it again"
        )
