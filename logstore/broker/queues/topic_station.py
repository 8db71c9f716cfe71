"""The station of an exchange of type x-topic: its messages are appended to a topic."""

from logstore.amqp.fields import text
from logstore.broker.mapping.records import Recording
from logstore.broker.queues.into_topic import IntoTopic
from logstore.broker.queues.station import Intake, Parcel
from logstore.broker.queues.station_home import StationHome
from logstore.broker.routing.arguments import Field
from logstore.broker.routing.exchange import TARGET, ExchangeFacts
from logstore.broker.routing.refusals import InvalidArgument
from logstore.broker.routing.targets import target_of_exchange
from logstore.broker.topics import check_for_clients
from logstore.errors import Failed, InvalidName, LogstoreError
from logstore.names import check_topic


def topic_of(facts: ExchangeFacts) -> str:
    """Return the topic of the exchange.

    Raises InvalidArgument if no topic can have the name; Refused for the server's own topics.
    """
    topic = text(target_of_exchange(facts))
    try:
        check_topic(topic)
    except InvalidName as error:
        given = facts.arguments.get(TARGET) or Field("S", facts.name)
        raise InvalidArgument(TARGET, given, f"the name of a topic ({error})") from None
    check_for_clients(topic)
    return topic


class TopicStation:
    """The ``Station`` of one such exchange."""

    def __init__(self, home: StationHome) -> None:
        """Create the station. Raises as ``topic_of``."""
        self.gone = False
        self.topic_name = topic_of(home.facts)
        self._recording = Recording()
        around, vhost = home.surroundings, home.vhost
        self._into: IntoTopic | None = None
        if around.topics is not None and around.work is not None:
            self._into = IntoTopic(
                around.topics, self.topic_name, around.work, vhost.soon, vhost.logs.parked
            )

    def missing(self) -> LogstoreError | None:
        """Return the error if messages would be refused now, else None."""
        if self._into is None:
            return Failed(f"topic {self.topic_name!r}: this process has no topics")
        return self._into.missing()

    def take(self, parcel: Parcel, intake: Intake) -> None:
        """As Station.take."""
        into, record, now_ms = self._into, self._recording.record, intake.now_ms
        missing = self.missing()
        if into is None or missing is not None:
            intake.refuse(range(len(parcel.keys)), missing)
            return
        messages = [
            record(its.exchange, key, its.properties, bytes(body), now_ms)
            for key, body, its in zip(*parcel, strict=True)
        ]
        if intake.held is None:
            refused = into.take(messages, intake.waiting)
        else:
            refused = into.hold(messages, intake.held)
            intake.lasting.update(set(range(len(messages))).difference(refused))
        for number, error in refused.items():
            intake.refuse((number,), error)

    def drop(self) -> None:
        """As ``Station.drop``. Parked messages are still appended."""
        self.gone = True
