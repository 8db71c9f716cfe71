"""Each question of the bench can still be asked: once, at a size whose figures mean nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import QUESTIONS
from bench.harness import NOT_HERE

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_of_the_bench_can_be_asked(name, tmp_path):
    facts = tmp_path / "facts.json"
    command = [sys.executable, "-m", f"bench.{name}", "--rounds", "1", "--dir", tmp_path]
    done = subprocess.run(
        [*command, "--json", facts], cwd=REPOSITORY, env=os.environ | {"BENCH_TINY": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == NOT_HERE:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    figures = json.loads(facts.read_text())
    assert figures
    assert all(figure["measured"]["median"] >= 0 for figure in figures), figures


def test_every_script_that_measures_is_a_question():
    scripts = {
        it.stem for it in (REPOSITORY / "bench").glob("*.py") if "\ndef measure(" in it.read_text()
    }
    assert scripts == set(QUESTIONS)
