"""The store of a directory: in this process, or in the server that has it open."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logstore.server_socket import ServerSocket
    from logstore.store import Store

    from .options import DataDir


@contextmanager
def store_or_server(
    data: "DataDir", *, create: bool = False
) -> "Iterator[tuple[Store | None, ServerSocket]]":
    """The store, or None and the server that has it open. Raises StoreLocked."""
    from logstore.errors import StoreLocked
    from logstore.server_socket import ServerSocket

    with ExitStack() as stack:
        store: Store | None = None
        try:
            store = stack.enter_context(data.open("write", create=create))
        except StoreLocked as locked:
            if locked.owner is None or not locked.owner.endpoints:  # no server
                raise
        yield store, ServerSocket(str(data.path))
