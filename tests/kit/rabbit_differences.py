"""Where ours answers otherwise than RabbitMQ 3.10.8, on purpose: each with its reason.

What is not named here must be the same.
"""

import re
from typing import NamedTuple


class Apart(NamedTuple):
    """A header that one of both has, or has with another value."""

    header: str
    why: str


class Otherwise(NamedTuple):
    """A text that one of both closes with, where the other's reply is as it is said here."""

    theirs: str  # a pattern of its text
    ours: str  # a pattern of our reply
    why: str


HEADERS = [
    Apart("x-last-death-reason", "3.13 and later have it; the version that we report does"),
    Apart("x-last-death-queue", "as x-last-death-reason"),
    Apart("x-last-death-exchange", "as x-last-death-reason"),
    Apart("x-delivery-count", "RabbitMQ counts in quorum queues alone; ours are of one type"),
]

REPLIES = [
    Otherwise(
        r"PRECONDITION_FAILED - invalid arg '.*' for queue '.*' in vhost '/' of queue type .*",
        r"QueueDeclareOk\(.*",
        "one queue implementation has the arguments of all types: taskiq asks a quorum queue for"
        " priorities",
    ),
]

# Details that comparisons leave out.
NOT_COMPARED = {
    "the order of x-death behind its first entry": (
        "from three entries on each death turns the older ones round there; here the newest is"
        " first, as it is documented, and as 3.13 has it"
    ),
    "the order in which a channel's consumers are cancelled by the server": "by their tags there",
}

# Steps that random tests leave out, because later results would differ, too.
NOT_ASKED = {
    "basic.get of a queue with a single active consumer": (
        "4.x refuses it (405), since whoever fetches goes past the one that is active"
    ),
    "arguments of quorum queues": "there are none there: a queue of ours has those of all types",
    "consumers of messages with a short time": "who is first, the consumer or the time, is chance",
    "what has expired already, in a queue with priorities": (
        "it is looked for only where it makes the queue's length one, and behind the head of the"
        " highest priority never; ours looks at the head of each priority"
    ),
    "an x-death that a client has made": (
        "an array of anything but deaths ends the queue's process (server#12755); another type is"
        " replaced there without x-first-death-*; one of deaths decides about cycles there"
    ),
    "basic.qos for consumers behind one for the channel": (
        "it takes the channel's limit away, since default_prefetch came; both limits are meant to"
        " hold, and do here"
    ),
    "basic.get where the channel has a limit": (
        "what was fetched before the limit counts for ever; what was fetched is not counted here"
    ),
    "a channel's limit within a transaction": (
        "what is acknowledged and not committed is taken off twice if the limit comes between"
    ),
    "giving back at once what several consumers of a channel have": (
        "it goes back consumer by consumer, and the first one's goes out again before the second"
        " one's is back; here all of it is back at its own place first"
    ),
    "a float in a header where a binding has an integer": (
        "1 and 1.0 are equal there, and of different classes in newer ones, as here"
    ),
    "an exclusive queue that has dead letters and messages without any time": (
        "what its connection had unacked dies there between its return and the queue's end; here"
        " the queue ends first, as T13 and T23 have it: without dead letters"
    ),
    "a transaction with a message that a queue refuses": (
        "tx.commit closes the channel there, too, and the rest of it has happened; here nothing of"
        " it has"
    ),
    "an exchange of the type x-delayed-message": "a plugin there",
}


class Text(NamedTuple):
    """What 3.10.8 says of a case of ``amqp_refused``, where ours says something else."""

    theirs: str  # as it is shown
    why: str


TEXTS = {
    "fetched past the active consumer": Text(
        "BasicGetEmpty(reserved_1='')", "4.x refuses it: who fetches goes past the active consumer"
    ),
}

# Cases in which 3.10.8 drops the connection without an error. Newer versions report one, as ours
# does.
SILENT = {
    "frames that are too small": "4.1 says so: amqplib before 0.10.7 asked for 4096 there",
    "frames that are too large": "as with those that are too small",
    "too many channels": "as with those that are too small",
    "an unknown mechanism": "a client shows its user what it is told",
}


# Operations that require a right here, but not there.
RIGHTS_OTHERWISE = {
    "look for an exchange": "a passive declaration asks since CVE-2026-57221",
    "look for a queue": "as of an exchange",
    "a copy's key": "the keys of CC and BCC are looked at in later versions",
    "a hidden copy's key": "as a copy's",
}


def in_words_of_3_10(text):
    """A refusal as worded before 3.11, without the name of the right."""
    return re.sub(r"(configure|write|read) access", "access", text, count=1)


class Stream(NamedTuple):
    """What ours says of a case of ``test_rabbit_streams_same``."""

    ours: str  # a pattern of it
    why: str


_BAD_AGE = r".*406.*x-max-age.*invalid_max_age.*"
_BAD_OFFSET = r".*406.*x-stream-offset.*invalid_stream_offset_arg.*"
STREAMS = {
    **{f"x-max-age {it!r}": Stream(_BAD_AGE, "the connection ends there: 541") for it in
       ("", "-5D")},
    **{f"offset {it!r}": Stream(_BAD_OFFSET, "the connection ends there: 541") for it in
       ("", "abc", "-5m", True, None)},
    "offset -1": Stream(_BAD_OFFSET, "taken for the first one there; there is none below 0"),
    "nack": Stream(r"\[\(b'0'.*b'4'.*", "4.x takes it as an acknowledgement, and so does ours"),
    "reject": Stream(r"\[\(b'0'.*b'4'.*", "as nack"),
    "delete it if it is empty": Stream(
        r".*406.*not empty.*", "it is deleted there all the same, with what it has"
    ),
}  # fmt: skip
