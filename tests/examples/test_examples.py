"""Each folder in examples/ has a README, and a test that runs it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
# What runs the example of each folder.
RUN_BY = {
    "definitions": "test_examples.py",
    "orders": "test_examples.py",
    "shop": "test_shop.py",
    "web": "test_web.py",
}
DEADLINE_S = 120


def test_every_example_has_a_readme_and_is_run():
    assert {it.name for it in EXAMPLES.iterdir() if it.is_dir()} == set(RUN_BY)
    for name, test in RUN_BY.items():
        assert (EXAMPLES / name / "README.md").read_text().startswith("# ")
        text = (Path(__file__).parent / test).read_text()
        assert f'"{name}"' in text


def test_every_file_of_an_example_is_named_by_its_readme():
    """The shop's are looked at by its own test."""
    for name in RUN_BY.keys() - {"shop"}:
        text = (EXAMPLES / name / "README.md").read_text()
        files = {it.name for it in (EXAMPLES / name).iterdir() if it.is_file()} - {"README.md"}
        assert {it for it in files if f"`{it}`" not in text} == set()


@pytest.fixture
def run(tmp_path):
    """run(name, command): as it is typed in a copy of the example's folder; what it prints."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LOGSTORE_", "PYTEST_"))}
    kept["PATH"] = f"{Path(sys.executable).parent}:{kept['PATH']}"

    def run(name, command):
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        done = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=kept, text=True, check=False,
            capture_output=True, timeout=DEADLINE_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return run


def console(name):
    """Each command that the README shows, with what it prints."""
    text = (EXAMPLES / name / "README.md").read_text()
    [block] = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [part.partition("\n")[::2] for part in re.split(r"^\$ ", block, flags=re.M)[1:]]


def test_the_definitions_are_read_as_the_readme_says(run):
    for command, printed in console("definitions"):
        assert run("definitions", command) == printed


@pytest.mark.long
def test_the_orders_pass_their_tests_by_the_command_of_the_readme(run):
    (install, _), (command, _) = console("orders")
    assert "4 passed" in run("orders", f"{command} -q -p no:cacheprovider")
    imported = re.findall(
        r"^(?:import|from) (\w+)", (EXAMPLES / "orders" / "orders.py").read_text(), re.M
    )
    packages = {it.replace("-", "_") for it in install.split()[2:]}
    assert set(imported) - {"json"} <= packages
