"""Translates refusals of groups into the library's own errors."""

from collections.abc import Mapping
from typing import Final

from logstore.broker.coordinator.refusal import GroupError
from logstore.errors import GroupBusy, InvalidName, LogstoreError, UnknownGroup, UnknownTopic
from logstore.http.faults import CONFLICT, UNAVAILABLE, Fault

_BUSY: Final = (GroupError.NON_EMPTY_GROUP, GroupError.UNKNOWN_MEMBER_ID)
_LATER: Final = (GroupError.COORDINATOR_NOT_AVAILABLE, GroupError.COORDINATOR_LOAD_IN_PROGRESS)
_KINDS: Final[Mapping[GroupError, type[LogstoreError]]] = {
    **dict.fromkeys(_BUSY, GroupBusy),
    GroupError.GROUP_ID_NOT_FOUND: UnknownGroup,
    GroupError.INVALID_GROUP_ID: InvalidName,
    GroupError.UNKNOWN_TOPIC_OR_PARTITION: UnknownTopic,
}


def error_of(error: GroupError | None, group: str, message: str = "") -> LogstoreError:
    """The error; ``error`` None: the group is in use."""
    if error is None or error in _BUSY:
        return GroupBusy(f"group {group!r} has members: stop its consumers first")
    if error in _LATER:
        return Fault(UNAVAILABLE, message or f"group {group!r}: the change could not be kept")
    kind = _KINDS.get(error)
    if kind is not None:
        return kind(message or f"group {group!r}: {_TEXTS.get(error, error.name.lower())}")
    return Fault(CONFLICT, message or f"group {group!r}: {error.name}")


_TEXTS: Final = {
    GroupError.GROUP_ID_NOT_FOUND: "there is none of that name",
    GroupError.UNKNOWN_TOPIC_OR_PARTITION: "a topic was deleted meanwhile",
}
