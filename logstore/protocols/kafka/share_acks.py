"""The results of all acknowledgements in one request."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from logstore.broker.queues.share_groups import Place
from logstore.broker.shared.shares import Shares
from logstore.broker.shares.acknowledgement import Said
from logstore.broker.shares.sessions import ShareSession, TopicPartition
from logstore.errors import LogstoreError, Refused
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import ASK_UNITS, KafkaClient
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.partition_fetch import readable
from logstore.slices import Steps

PLACE_HELD_BYTES: Final = 256  # of a partition in a session
SAID_UNITS: Final = 5  # of a partition of which something is said
SAID_A_UNIT: Final = 10  # runs of offsets, in a unit of work


class Outcome(NamedTuple):
    """The result for one partition."""

    code: int = errors.NONE
    message: str | None = None


class Acknowledgements:
    """The acknowledgements of one request of a session. Used in the sessions' thread."""

    def __init__(self, client: KafkaClient, shares: Shares, session: ShareSession) -> None:
        self.outcomes: dict[TopicPartition, Outcome] = {}
        self._client = client
        self._shares = shares
        self._session = session
        self._pending = 0
        self._begun = False
        self._done: Callable[[], object] | None = None

    def begin(self, told: Mapping[TopicPartition, Sequence[Said] | Refused]) -> Steps:
        """Write all acknowledgements to the journal."""
        topic_id, code = None, errors.NONE
        for place, said in told.items():
            if place[0] != topic_id:
                topic_id = place[0]
                _, code = readable(self._client, topic_id)
                yield ASK_UNITS
            if code != errors.NONE:
                self.outcomes[place] = Outcome(code)
            elif isinstance(said, Refused):
                self.outcomes[place] = Outcome(code_of(said), str(said))
            else:
                self._acknowledge(place, said)
                yield SAID_UNITS + len(said) // SAID_A_UNIT
        self._begun = True
        self._tell()

    def _acknowledge(self, place: TopicPartition, said: Sequence[Said]) -> None:
        partition = self._shares.at_hand(Place(self._session.group, *place))
        if partition is None:  # no member was given any record of it
            self.outcomes[place] = Outcome(errors.UNKNOWN_TOPIC_OR_PARTITION)
        else:
            self._pending += 1
            partition.acknowledge(self._session.owner, said, partial(self._told, place))

    def _told(self, place: TopicPartition, error: LogstoreError | None) -> None:
        self.outcomes[place] = Outcome() if error is None else Outcome(code_of(error), str(error))
        self._pending -= 1
        self._tell()

    @property
    def settled(self) -> bool:
        """Whether all outcomes are known."""
        return self._begun and not self._pending

    def then(self, done: Callable[[], object]) -> None:
        """Call ``done`` when all outcomes are known, or at once if they are."""
        self._done = done
        self._tell()

    def _tell(self) -> None:
        if self.settled and self._done is not None:
            done, self._done = self._done, None
            done()


def count_sessions(client: KafkaClient, shares: Shares) -> None:
    """Update the memory that the client's share sessions hold."""
    places = sum(len(it.places) for it in shares.sessions.of(client))
    client.sharing_bytes = PLACE_HELD_BYTES * places
