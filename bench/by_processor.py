"""The ``logstore`` command, whose turns are measured by processor time.

Turns are as long then as the work in them, whatever else the machine does; but what is waited for
(a disk, a lock) is not seen. By wall time they are measured as they are in production, where a
look at the processor's clock, a call of the system, would cost each turn too much.
"""

from time import thread_time

from logstore_cli.main import main

from logstore import connection, server, turn

if __name__ == "__main__":
    for module in (connection, server, turn):
        module.monotonic = thread_time  # type: ignore[attr-defined]
    main()
