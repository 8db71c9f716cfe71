"""Kafka's jars, brought by Maven once and kept in ``.bench``, as ``pom.xml`` says which."""

import re
import shutil
import subprocess
from pathlib import Path

from bench.harness import SCRATCH, NotHere

POM = Path(__file__).with_name("pom.xml")


def version() -> str:
    """Kafka's version in the pom."""
    found = re.findall(r"<version>([\d.]{3,})</version>", POM.read_text())
    assert len(found) == 1, f"{POM}: more than one version that could be Kafka's: {found}"
    return found[0]


def jars() -> Path:
    """The directory of Kafka's jars. Raises NotHere without Java, or without Maven if it is
    needed.
    """
    _need("java")
    kept = (SCRATCH / f"kafka-{version()}").resolve()
    if not kept.exists():
        _need("mvn")
        fetched = kept.with_suffix(".fetching")
        shutil.rmtree(fetched, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", POM, "dependency:copy-dependencies"]
        subprocess.run([*command, f"-DoutputDirectory={fetched}"], check=True)
        fetched.rename(kept)  # whole, or not there
    return kept


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise NotHere(f"Kafka needs `{program}`, which is not on this machine")
