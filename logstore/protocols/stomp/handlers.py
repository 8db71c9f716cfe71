"""The table of frames and their handlers."""

from collections.abc import Callable
from typing import Final

from logstore.protocols.stomp.client import StompClient
from logstore.protocols.stomp.commit import abort, begin, commit
from logstore.protocols.stomp.send import send
from logstore.protocols.stomp.settle import ack, nack
from logstore.protocols.stomp.subscribe import subscribe, unsubscribe
from logstore.stomp.faults import StompFault
from logstore.stomp.frames import CONNECTING, SEND, Frame, shown

DISCONNECT: Final = "DISCONNECT"  # the session's own, as CONNECT is

HANDLERS: Final[dict[str, Callable[[StompClient, Frame], None]]] = {
    SEND: send,
    "SUBSCRIBE": subscribe,
    "UNSUBSCRIBE": unsubscribe,
    "ACK": ack,
    "NACK": nack,
    "BEGIN": begin,
    "COMMIT": commit,
    "ABORT": abort,
}


def carry_out(of: StompClient, frame: Frame) -> None:
    """Carry out the frame of a connected client. Raises StompFault and the errors of queues."""
    handler = HANDLERS.get(frame.command)
    if handler is None:
        if frame.command in CONNECTING:
            raise StompFault("Illegal command", "this connection has already sent CONNECT\n")
        raise StompFault("Bad command", f'Could not interpret command "{shown(frame.command)}"\n')
    handler(of, frame)
