"""The client's end of a connection with one request: request to bytes, bytes to reply, over h11."""

from collections.abc import Iterator
from typing import Final

import h11

from logstore.errors import BrokenProtocol

HEAD_BYTES_MAX: Final = 64 << 10  # of an answer's line and headers
_HOST: Final = ("host", "localhost")


class ClientEnd:
    """One connection, which the server closes after the reply."""

    def __init__(self) -> None:
        self.status = 0  # of the answer, once it has begun
        self.ended = False  # the answer is whole
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)

    def ask(self, method: str, target: str, body: bytes = b"") -> bytes:
        """A request. Raises ValueError for a target that is none."""
        headers = [_HOST, ("connection", "close")]
        if body or method in ("POST", "PUT"):
            headers += [("content-type", "application/json"), ("content-length", str(len(body)))]
        try:
            request = h11.Request(method=method, target=target, headers=headers)
        except h11.LocalProtocolError as error:
            raise ValueError(str(error)) from None
        sent = self._h11.send(request) or b""
        if body:
            sent += self._h11.send(h11.Data(data=body)) or b""
        return sent + (self._h11.send(h11.EndOfMessage()) or b"")

    def take(self, data: bytes) -> Iterator[bytes]:
        """What has arrived, b"" for the end: pieces of the answer's body. Raises BrokenProtocol."""
        try:
            self._h11.receive_data(data)
            while not self.ended:
                event = self._h11.next_event()
                if event is h11.NEED_DATA:
                    return
                if isinstance(event, h11.Response):
                    self.status = event.status_code
                elif isinstance(event, h11.Data):
                    yield bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self.ended = True
                elif isinstance(event, h11.ConnectionClosed):
                    raise BrokenProtocol("the connection ended before the answer")
        except h11.RemoteProtocolError as error:
            raise BrokenProtocol(str(error)) from None
