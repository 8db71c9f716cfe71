"""Counters of MQTT sessions."""

from dataclasses import dataclass


@dataclass(slots=True)
class SessionCounts:
    """The counters of all sessions of a process."""

    begun: int = 0
    resumed: int = 0
    taken_over: int = 0  # the client connected again while it was connected
    expired: int = 0
    crowded_out: int = 0  # ended because there were too many
    sent: int = 0  # messages to clients, by sessions
    sent_again: int = 0  # sent again on a later connection
    too_long: int = 0  # not sent: over the client's maximum packet size
    not_for_it: int = 0  # not sent: no valid MQTT topic, or the right was lost
    unknown_acks: int = 0  # of packet identifiers that were not in use
