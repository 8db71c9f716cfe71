"""Refusals of a request before anything is done for it: a status and one line."""

from collections.abc import Sequence
from typing import Final

from logstore.errors import LogstoreError

NO_CONTENT: Final = 204  # of who asks for the methods alone
PERMANENT_REDIRECT: Final = 308
BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
METHOD_NOT_ALLOWED: Final = 405
REQUEST_TIMEOUT: Final = 408
CONFLICT: Final = 409
CONTENT_TOO_LARGE: Final = 413
HEADERS_TOO_LARGE: Final = 431
INTERNAL_ERROR: Final = 500
UNAVAILABLE: Final = 503
VERSION_NOT_SUPPORTED: Final = 505


class Fault(LogstoreError):
    """A reply that states the reason of a refusal."""

    def __init__(
        self,
        status: int,
        sentence: str,
        allow: str = "",
        headers: Sequence[tuple[str, str]] = (),
        kind: str = "",
    ) -> None:
        """``allow``: the methods that there are, for a status of 405; ``headers``: more of them.

        ``kind``: what the library calls this error.
        """
        super().__init__(sentence)
        self.said: object = None  # the body of the answer, where it is another one
        self.status, self.allow, self.kind = status, allow, kind
        self.headers = [*headers, ("allow", allow)] if allow else headers
