"""What is counted of MQTT sessions as it happens."""

from dataclasses import dataclass


@dataclass(slots=True)
class SessionCounts:
    """Of all of a process."""

    begun: int = 0
    resumed: int = 0
    taken_over: int = 0  # a client has come while it was there
    expired: int = 0
    crowded_out: int = 0  # the oldest, since there were too many
    sent: int = 0  # messages to clients, by sessions
    sent_again: int = 0  # of these, on another connection than the first one
    too_long: int = 0  # not sent: the client takes none of that size
    not_for_it: int = 0  # not sent: of no topic that MQTT has, or by a right that is lost
    unknown_acks: int = 0  # of packet identifiers that were not in use
