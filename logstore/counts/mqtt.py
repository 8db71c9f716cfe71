"""What is counted of the MQTT door beside its connections and sessions."""


class MqttCounts:
    """Since the process began to serve. Changed in the sessions' thread."""

    __slots__ = (
        "dropped", "received", "refused", "repeated", "sent", "too_long", "unknown_aliases",
        "unknown_packets", "unmatched",
    )  # fmt: skip

    def __init__(self) -> None:
        self.received = [0, 0, 0]  # messages that clients have published, by QoS
        self.sent = [0, 0, 0]  # to clients, by QoS
        self.refused = 0  # messages that their client may not publish
        self.unmatched = 0  # for which there was no subscriber
        self.dropped = 0  # of QoS 0, of subscribers that read too slowly
        self.too_long = 0  # for the client's maximum packet size
        # Of clients that use an alias without having said of what: those that send again, on a new
        # connection, what they had sent with one.
        self.unknown_aliases = 0
        self.repeated = 0  # messages of QoS 2 that came again, and were known
        self.unknown_packets = 0  # PUBACK and its like of packets that there are not
