import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[2]


def run_demo(place):
    return subprocess.run(
        [sys.executable, "-m", "segments.demo", str(place)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_demo_passes_and_again_in_the_same_place(tmp_path):
    for _ in range(2):
        done = run_demo(tmp_path / "demo")
        assert done.returncode == 0, done.stdout + done.stderr
        *_, said, path, look = done.stdout.splitlines()
        assert said.startswith("The demo did what it says.")
    steps = f"{path}\n{look}"
    shown = subprocess.run(["bash", "-c", steps], cwd=REPOSITORY, capture_output=True, check=True)
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == [
        b"flights", b"flights-copy",
    ]  # fmt: skip


def test_the_demo_takes_no_directory_of_others(tmp_path):
    (tmp_path / "mine").write_text("precious")
    done = run_demo(tmp_path)
    assert done.returncode == 1
    assert "not empty, and not a demo's store" in done.stderr
    assert (tmp_path / "mine").read_text() == "precious"
