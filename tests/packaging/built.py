"""Look into what `make dist` has built: ``python -m tests.packaging.built dist``.

The wheel has come out of the source distribution. It must hold every module of the three
packages, their type markers, the page and FORMAT.md, as they are in the repository, and nothing
else.
"""

import sys
import tarfile
import zipfile
from pathlib import Path

REPO = Path(__file__).parents[2]
FOLDER_OF = {"logstore": "logstore", "logstore_cli": "cli", "pytest_logstore": "pytest_logstore"}
BESIDE_MODULES = (
    "logstore/py.typed",
    "logstore/storage/FORMAT.md",
    "logstore/page/*.*",
    "logstore/page/views/*.js",
    "pytest_logstore/py.typed",
)
PAGES = ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
METADATA = (
    "License-Expression: Apache-2.0",
    "Requires-Python: >=3.11",
    "Description-Content-Type: text/markdown",
    "Project-URL: Changelog, ",
)


def sources(repo):
    """Name in the wheel -> file in the repository."""
    found = {
        f"{package}/{path.relative_to(repo / folder)}": path
        for package, folder in FOLDER_OF.items()
        for path in (repo / folder).rglob("*.py")
    }
    for pattern in BESIDE_MODULES:
        paths = list(repo.glob(pattern))
        assert paths, f"{pattern}: there is none in {repo}"
        found |= {str(path.relative_to(repo)): path for path in paths}
    return found


def version_of(repo):
    """The one in logstore/version.py, without importing it."""
    told = {}
    exec((repo / "logstore" / "version.py").read_text(), told)
    return told["VERSION"]


def faults(folder, repo=REPO):
    """What is wrong with the one wheel and the one source distribution there, a line each."""
    wheels, archives = (sorted(folder.glob(it)) for it in ("*.whl", "*.tar.gz"))
    stem = f"logstore-{version_of(repo)}"
    if [it.name for it in (*wheels, *archives)] != [f"{stem}-py3-none-any.whl", f"{stem}.tar.gz"]:
        names = ", ".join(sorted(it.name for it in folder.iterdir()))
        return [f"{folder}: holds {names}; expected a wheel and an archive of {stem}"]
    return [*faults_of_wheel(wheels[0], repo), *faults_of_archive(archives[0], stem)]


def faults_of_wheel(wheel, repo):
    expected = sources(repo)
    with zipfile.ZipFile(wheel) as archive:
        about = {it for it in archive.namelist() if it.split("/")[0].endswith(".dist-info")}
        names = set(archive.namelist()) - about
        yield from (f"{wheel.name}: lacks {it}" for it in sorted(expected.keys() - names))
        yield from (f"{wheel.name}: holds {it}" for it in sorted(names - expected.keys()))
        for name in sorted(names & expected.keys()):
            if archive.read(name) != expected[name].read_bytes():
                yield f"{wheel.name}: {name} is not as in the repository"
        (metadata,) = (it for it in about if it.endswith("/METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    for start in METADATA:
        if not any(line.startswith(start) for line in lines):
            yield f"{wheel.name}: its metadata lacks {start.strip()!r}"
    if not any(it.endswith("licenses/LICENSE") for it in about):
        yield f"{wheel.name}: lacks the license"


def faults_of_archive(path, stem):
    with tarfile.open(path) as archive:
        names = set(archive.getnames())
    yield from (f"{path.name}: lacks {it}" for it in PAGES if f"{stem}/{it}" not in names)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = faults(folder)
    if found:
        sys.exit("\n".join(found))
    print(f"{folder}: the wheel and the source distribution of {version_of(REPO)} are whole")
