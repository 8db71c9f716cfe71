"""The reasons why a group refuses a request. The names are Kafka's; the wire gives them numbers."""

from enum import Enum, auto, unique


@unique
class GroupError(Enum):
    """The kinds of refusals. Clients react to each in a different way, hence the number of them."""

    COORDINATOR_LOAD_IN_PROGRESS = auto()  # transactions of before are being read: try again
    COORDINATOR_NOT_AVAILABLE = auto()  # it could not be made durable: try again
    FENCED_INSTANCE_ID = auto()  # another process is this static member now
    FENCED_MEMBER_EPOCH = auto()  # KIP-848: join again, with nothing
    GROUP_ID_NOT_FOUND = auto()
    GROUP_MAX_SIZE_REACHED = auto()
    GROUP_SUBSCRIBED_TO_TOPIC = auto()
    ILLEGAL_GENERATION = auto()
    INCONSISTENT_GROUP_PROTOCOL = auto()
    INVALID_GROUP_ID = auto()
    INVALID_REGULAR_EXPRESSION = auto()
    INVALID_REQUEST = auto()
    INVALID_SESSION_TIMEOUT = auto()
    MEMBER_ID_REQUIRED = auto()  # KIP-394: join again with the member id that comes with this
    NON_EMPTY_GROUP = auto()
    OFFSET_METADATA_TOO_LARGE = auto()
    REBALANCE_IN_PROGRESS = auto()
    STALE_MEMBER_EPOCH = auto()
    UNKNOWN_MEMBER_ID = auto()
    UNKNOWN_TOPIC_OR_PARTITION = auto()  # deleted, or created again under the same name
    UNRELEASED_INSTANCE_ID = auto()  # the static member is here still
    UNSUPPORTED_ASSIGNOR = auto()


class Refusal(Exception):
    """Raised within the coordinator; the caller gets the error in a reply."""

    def __init__(self, error: GroupError, message: str = "") -> None:
        super().__init__(message or error.name)
        self.error = error
        self.message = message
