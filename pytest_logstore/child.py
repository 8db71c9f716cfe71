"""``python -m pytest_logstore.child FD WORD...``: the command, with a line to the tests.

The line is a socket. Once its other end is closed, because the tests are over or were killed, the
process ends. What comes by it are faults of the disk, one JSON object a line.
"""

import errno
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

LAST_S: Final = 20.0  # for an orderly end

SLOWED: Final = ("sync", "sync_all", "sync_directory")
FILLED: Final = ("write", "allocate")

_now: Final[dict[str, Any]] = {"sync_s": 0.0, "full": False}


def main() -> None:
    line = socket.socket(fileno=int(sys.argv.pop(1)))
    threading.Thread(target=_listen, args=(line,), name="tests", daemon=True).start()
    sys.argv[0] = "logstore"
    import_module("logstore_cli.main").main()


def _listen(line: socket.socket) -> None:
    installed = False
    with line.makefile("rb") as lines:
        for said in lines:
            if not installed:
                _install()
                installed = True
            _now.update(json.loads(said))
            line.sendall(b"done\n")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_S)
    os._exit(1)


def _install() -> None:
    """Every call on a store's files is made in one class."""
    from logstore.storage.disk import Disk

    for name in SLOWED:
        setattr(Disk, name, _slowed(getattr(Disk, name)))
    for name in FILLED:
        setattr(Disk, name, _filled(getattr(Disk, name)))


def _slowed(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any) -> Any:  # noqa: ANN401
        time.sleep(_now["sync_s"])
        return real(*given)

    return call


def _filled(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any) -> Any:  # noqa: ANN401
        if _now["full"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*given)

    return call


if __name__ == "__main__":
    main()
