"""For which systems and Pythons the index has wheels of what logstore needs: a table in Markdown.

    python deploy/wheels.py

Asks pip, which downloads metadata, installs nothing, and need not run on any of these systems.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
# As a machine of that kind accepts them: the newest tag first, and those before it.
SYSTEMS: Final = {
    "Linux, glibc, x86-64": [f"manylinux_2_{it}_x86_64" for it in range(34, 16, -1)]
    + ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"],
    "Linux, glibc, aarch64": [f"manylinux_2_{it}_aarch64" for it in range(34, 16, -1)]
    + ["manylinux2014_aarch64"],
    "Linux, musl, x86-64": ["musllinux_1_2_x86_64", "musllinux_1_1_x86_64"],
    "Linux, musl, aarch64": ["musllinux_1_2_aarch64", "musllinux_1_1_aarch64"],
    "macOS 14, arm64": [f"macosx_{it}_0_arm64" for it in range(14, 10, -1)]
    + ["macosx_14_0_universal2", "macosx_11_0_universal2", "macosx_10_9_universal2"],
    "macOS 14, x86-64": [f"macosx_{it}_0_x86_64" for it in range(14, 10, -1)]
    + [f"macosx_10_{it}_x86_64" for it in range(15, 8, -1)]
    + ["macosx_14_0_universal2", "macosx_11_0_universal2", "macosx_10_9_universal2"],
}
_LACKING: Final = re.compile(r"No matching distribution found for ([A-Za-z0-9._-]+)")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def needed() -> list[str]:
    """What logstore depends on, with its extras for TLS and tokens."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["tls"], *extras["oauth"]]


def lacking(tags: list[str], python: str, wanted: list[str]) -> list[str]:
    """The packages without a wheel, of these and of what they need in turn."""
    found: list[str] = []
    with TemporaryDirectory() as scratch:
        while wanted:
            command = [
                sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--target", scratch,
                "--only-binary", ":all:", "--implementation", "cp", "--python-version", python,
                *(word for tag in tags for word in ("--platform", tag)), *wanted,
            ]  # fmt: skip
            asked = subprocess.run(command, capture_output=True, text=True)
            if not asked.returncode:
                break
            missing = _LACKING.search(asked.stderr)
            if missing is None:
                raise SystemExit(asked.stderr)
            left = [it for it in wanted if _name(it) != missing[1]]
            if left == wanted:
                raise SystemExit(f"{missing[1]}, which one of them needs, has no wheel")
            found.append(missing[1])
            wanted = left
    return found


def _name(requirement: str) -> str:
    name = _NAME.match(requirement)
    assert name is not None
    return name[0]


def main() -> None:
    """Print it, row by row: each takes a second or two."""
    print(f"| system | {' | '.join(PYTHONS)} |\n|---|{'---|' * len(PYTHONS)}")
    for system, tags in SYSTEMS.items():
        cells = [lacking(tags, python, needed()) for python in PYTHONS]
        words = ["all" if not it else f"all but {', '.join(sorted(it))}" for it in cells]
        print(f"| {system} | {' | '.join(words)} |", flush=True)


if __name__ == "__main__":
    main()
