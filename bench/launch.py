"""Run a command and note what it took: ``python -S launch.py NOTE COMMAND...``.

A process of its own because Linux counts what the parent held when it started a child as the
child's: this one holds next to nothing, and so imports next to nothing.
"""

import os
import sys
import time

note, *command = sys.argv[1:]
begun = time.perf_counter()
child = os.posix_spawn(command[0], command, os.environ)
_, status, usage = os.wait4(child, 0)
took = time.perf_counter() - begun
with open(note, "w") as file:
    file.write(f"{took} {usage.ru_maxrss}")
sys.exit(os.waitstatus_to_exitcode(status) != 0)
