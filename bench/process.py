"""A whole process measured from outside: how long it took and how much memory it held."""

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True, slots=True)
class Ran:
    seconds: float
    resident_mb: float  # the most it held at once
    output: str


def logstore_command() -> str:
    """The installed command of this interpreter's environment."""
    command = Path(sysconfig.get_path("scripts")) / "logstore"
    if not command.exists():
        raise SystemExit(f"{command} is not there: python -m pip install -e .")
    return str(command)


def run(command: Sequence[str], standard_input: Path = Path("/dev/null")) -> Ran:
    """Run a command to its end. Raises CalledProcessError if it fails."""
    with tempfile.NamedTemporaryFile("r") as note, standard_input.open("rb") as source:
        launch = [sys.executable, "-S", str(LAUNCH), note.name, *command]
        # Compiled sources are kept, as they are wherever logstore is installed.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            launch, stdin=source, capture_output=True, text=True, check=False, env=environment
        )
        if done.returncode:
            sys.stderr.write(done.stderr)
            raise subprocess.CalledProcessError(done.returncode, list(command))
        took, resident_kib = note.read().split()
    return Ran(float(took), int(resident_kib) * 1024 / 1e6, done.stdout)
