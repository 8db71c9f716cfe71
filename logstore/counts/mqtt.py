"""Counters of the MQTT door besides its connections and sessions."""


class MqttCounts:
    """The counters since the server started. Changed in the sessions' thread."""

    __slots__ = (
        "dropped", "received", "refused", "repeated", "sent", "too_long", "unknown_aliases",
        "unknown_packets", "unmatched",
    )  # fmt: skip

    def __init__(self) -> None:
        self.received = [0, 0, 0]  # messages that clients have published, by QoS
        self.sent = [0, 0, 0]  # to clients, by QoS
        self.refused = 0  # messages that their client may not publish
        self.unmatched = 0  # for which there was no subscriber
        self.dropped = 0  # messages of QoS 0 that subscribers read too slowly
        self.too_long = 0  # for the client's maximum packet size
        # Connections of clients that use an undefined topic alias: they send a message again on a
        # new connection with the alias of the old one.
        self.unknown_aliases = 0
        self.repeated = 0  # messages of QoS 2 that arrived again and were recognised
        self.unknown_packets = 0  # acknowledgements of unknown packet identifiers
