"""A job that another process requests, and the replies to that process."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from logstore.errors import LogstoreError, NoneOfThatName, Refused
from logstore.http.faults import BAD_REQUEST, CONFLICT, INTERNAL_ERROR, NOT_FOUND
from logstore.http.reply import Reply
from logstore.upkeep.job import Job, Outcome, Tell
from logstore.upkeep.work import Broke, Ended

Facts = Callable[[], Mapping[str, object]]
Run = Callable[[Job, Tell], Iterator[Outcome]]

_encode = msgspec.json.Encoder().encode
_decode_job = msgspec.json.Decoder(Job).decode


class Order:
    """A requested job. It is completed even if the process that requested it has gone."""

    def __init__(self, body: bytes, reply: Reply) -> None:
        """``body``: a ``Job`` as JSON. It is answered with lines of JSON."""
        self._body = body
        self._reply = reply

    def serve(self, run: Run) -> None:
        """Run the job and reply with its progress, the result for each log, and the end."""
        reply = self._reply
        try:
            job = _decode_job(self._body)
        except (msgspec.DecodeError, RecursionError) as error:
            reply.refuse(BAD_REQUEST, f"not a job: {error}")
            return
        try:
            for outcome in run(job, lambda it: reply.line(_encode(it) + b"\n", skip=True)):
                reply.line(_encode(outcome) + b"\n")
        except LogstoreError as error:
            self._broke(error)
            return
        reply.line(_encode(Ended()) + b"\n")
        reply.end()

    def _broke(self, error: LogstoreError) -> None:
        if self._reply.begun:  # with a status that says otherwise
            self._reply.line(_encode(Broke.by(error)) + b"\n")
            self._reply.end()
            return
        status = next(it for kind, it in _STATUS if isinstance(error, kind))
        self._reply.refuse(status, str(error), type(error).__name__)


_STATUS: Final[Sequence[tuple[type[LogstoreError], int]]] = (
    (NoneOfThatName, NOT_FOUND), (Refused, CONFLICT), (LogstoreError, INTERNAL_ERROR),
)  # fmt: skip
