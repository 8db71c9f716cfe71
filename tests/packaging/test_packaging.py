"""What people get: the wheel, a fresh environment with it, and an editable one."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import logstore
from logstore.version import VERSION
from tests.packaging import built

long = pytest.mark.long

REPO = Path(__file__).parents[2]
IN_THE_TREE = ("cli", "logstore", "pytest_logstore", "tests", "bench", "segments")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", "[0-9]*.*")


def test_every_package_is_in_the_list_of_those_that_are_installed():
    """What is not there is missed only where the wheel is installed."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    listed = project["tool"]["setuptools"]["packages"]
    names = {"logstore": "logstore", "cli": "logstore_cli", "pytest_logstore": "pytest_logstore"}
    there = {
        ".".join((name, *path.parent.relative_to(REPO / folder).parts))
        for folder, name in names.items()
        for path in (REPO / folder).rglob("__init__.py")
    }
    assert set(listed) == there
    assert len(listed) == len(set(listed))


OURS = ("PYTHONPATH", "PYTHONHOME", "PYTEST_ADDOPTS")  # what this run of the tests was told


def run(*command, cwd, **options):
    """Its standard output; the whole of what it said where it fails."""
    environment = {k: v for k, v in os.environ.items() if k not in OURS}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, **options,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """A copy of the sources: building leaves traces."""
    tree = tmp_path_factory.mktemp("tree")
    for name in IN_THE_TREE:
        if (REPO / name).exists():
            shutil.copytree(REPO / name, tree / name, ignore=LEFT_OUT)
    for path in REPO.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, tree)
    return tree


@pytest.fixture(scope="session")
def dist(tree, tmp_path_factory):
    """A source distribution, and the wheel that came out of it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree, cwd=out)
    return out


@pytest.fixture(scope="session")
def wheel(dist):
    (wheel,) = dist.glob("*.whl")
    return wheel


class Environment:
    """A fresh one, without pip; our dependencies are lent to it by path."""

    def __init__(self, path):
        venv.EnvBuilder(with_pip=False, symlinks=True).create(path)
        self.path = path
        self.python = path / "bin" / "python"
        purelib = run(
            self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=path
        )
        self.site = Path(purelib.strip())
        lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        # A directory on a .pth file's line is searched, but its own .pth files are not read: an
        # editable install in the lending environment stays out of this one.
        (self.site / "lent.pth").write_text("\n".join(sorted(lent)) + "\n")

    def install(self, *what):
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet")
        offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
        # What the lent directories hold of it is not to be uninstalled.
        run(*pip, *offline, "--ignore-installed", *what, cwd=self.path)

    def code(self, source, cwd):
        return run(self.python, "-c", source, cwd=cwd)


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory):
    environment = Environment(tmp_path_factory.mktemp("installed"))
    environment.install(wheel)
    return environment


@pytest.fixture(scope="session")
def editable(tree, tmp_path_factory):
    environment = Environment(tmp_path_factory.mktemp("editable"))
    environment.install("-e", tree)
    return environment


@pytest.fixture(scope="session", params=["installed", "editable"])
def environment(request):
    return request.getfixturevalue(request.param)


@long
def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    packages = {top for top in tops if not top.endswith(".dist-info")}
    assert packages == {"logstore", "logstore_cli", "pytest_logstore"}
    assert {"logstore/py.typed", "logstore/storage/FORMAT.md", "logstore_cli/main.py"} <= set(names)
    assert "pytest_logstore/py.typed" in names
    page = {str(path.relative_to(REPO)) for path in (REPO / "logstore/page").rglob("*.*")}
    assert page
    assert page <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


@long
def test_the_wheel_holds_every_module_of_the_sources(wheel, tree):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.endswith(".py")}
    packages = ("logstore", "pytest_logstore")
    expected = {
        str(it.relative_to(tree)) for name in packages for it in (tree / name).rglob("*.py")
    }
    expected |= {f"logstore_{path.relative_to(tree)}" for path in (tree / "cli").rglob("*.py")}
    assert names == expected


@long
def test_what_was_built_is_whole_and_passes_the_check_of_the_index(dist, tree):
    assert built.faults(dist, tree) == []
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir(), cwd=dist)


@long
def test_what_a_wheel_lacks_or_has_too_much_is_named(dist, tree, tmp_path):
    for path in dist.iterdir():
        shutil.copy(path, tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("tests/test_it.py", "")
    (tree / "logstore" / "late.py").write_text("")
    try:
        assert built.faults(tmp_path, tree) == [
            f"{wheel.name}: lacks logstore/late.py", f"{wheel.name}: holds tests/test_it.py",
        ]  # fmt: skip
    finally:
        (tree / "logstore" / "late.py").unlink()
    wheel.rename(wheel.with_name("logstore-9-py3-none-any.whl"))
    [told] = built.faults(tmp_path, tree)
    assert "logstore-9-py3-none-any.whl" in told


@long
def test_the_wheel_is_for_any_platform_and_says_what_it_needs(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = archive.read(name).decode()
    assert "Requires-Python: >=3.11" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    assert "Requires-Dist: lmdb" in metadata


def test_the_version_is_told_in_one_place():
    """pyproject.toml reads what the library and the command say."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "logstore.version.VERSION"
    }
    assert VERSION == logstore.__version__ == built.version_of(REPO)
    assert f"\n## {VERSION}" in (REPO / "CHANGELOG.md").read_text()


@long
def test_the_library_works_where_it_is_installed(environment, tmp_path):
    source = """
import logstore, sys
with logstore.open("data") as store:
    store.create_topic("t", partitions=3).append(b"value", b"key")
    with store.consumer("t", group="g") as consumer:
        print([record.value for record in consumer])
print(logstore.__version__)
"""
    assert environment.code(source, tmp_path).splitlines() == ["[b'value']", VERSION]


@long
def test_no_module_called_cli_is_installed(environment, tmp_path):
    source = """
import importlib.util
for name in ("cli", "tests", "bench", "segments", "logstore_cli", "logstore", "pytest_logstore"):
    print(name, importlib.util.find_spec(name) is not None)
"""
    lines = environment.code(source, tmp_path).splitlines()
    found = dict(line.split() for line in lines)
    assert found == {
        "cli": "False", "tests": "False", "bench": "False", "segments": "False",
        "logstore_cli": "True", "logstore": "True", "pytest_logstore": "True",
    }  # fmt: skip


@long
def test_the_command_is_installed_and_tells_how_it_is_used(environment, tmp_path):
    command = environment.path / "bin" / "logstore"
    text = run(command, "--help", cwd=tmp_path)
    for word in ("produce", "consume", "replay", "topic", "group", "--data"):
        assert word in text
    run(command, "--data", "d", "topic", "create", "t", cwd=tmp_path)
    assert "t" in run(command, "--data", "d", "topic", "list", cwd=tmp_path)


@long
def test_an_editable_install_follows_the_sources(editable, tree, tmp_path):
    source = "import logstore, logstore_cli; print(logstore.__file__); print(logstore_cli.__file__)"
    assert editable.code(source, tmp_path).splitlines() == [
        str(tree / "logstore" / "__init__.py"),
        str(tree / "cli" / "__init__.py"),
    ]


@long
def test_importing_logstore_brings_in_no_more_than_it_needs(installed, tmp_path):
    source = "import sys, logstore; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    modules = set(installed.code(source, tmp_path).split())
    assert not modules & {"asyncio", "typer", "click", "rich", "cramjam", "lz4", "zstandard"}
    assert not modules & {"logstore_cli", "cli", "sqlite3", "multiprocessing", "unittest"}


@long
def test_the_pytest_plugin_is_found_where_it_is_installed(environment, tmp_path):
    (tmp_path / "test_it.py").write_text("""
def test_it(logstore_server, request):
    assert request.config.pluginmanager.get_plugin("logstore").__name__ == "pytest_logstore.plugin"
    assert logstore_server.api.get("server")["path"] == str(logstore_server.data)
""")
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py")
    assert "1 passed" in run(environment.python, *words, cwd=tmp_path)
