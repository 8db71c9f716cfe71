"""Every command in README.md and docs/ is run, and prints what the page says.

So is Python in pages that say in a block of text behind it what it prints. A server that a page
starts with `logstore serve &` has ports of its own choice, which take the places of the usual ones
in what is run: addresses are not compared.

`python tests/docs/test_docs.py --write [page.md ...]` runs them and puts what was printed into the
pages, where the page does not say so already.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import logstore
from logstore.doors import AMQP, DOORS
from logstore.protocols.http.entry.targets import is_of
from logstore.protocols.http.routes import ROUTES
from logstore.settings import STORE_SETTINGS

pytestmark = pytest.mark.long

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"
PAGES = [README, *sorted((REPOSITORY / "docs").rglob("*.md"))]
DEADLINE_S = 60
LINES_SHOWN = 14  # the rest of a longer output is cut off with "..."
WIDTH_SHOWN = 150

# What differs from run to run.
VOLATILE = [
    (r"20(?!13)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<now>"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>"),
    (r"in \d+\.\d+ ?s\b(, [\d,]+ (records|messages)/s)?", "in <time>"),
    (r"(/\S*/)?logstore-data", "<data>"),
    (r'"/\S*/(tls/\S+)"', r'"<folder>/\1"'),
    (r"(127\.0\.0\.1|0\.0\.0\.0):\d+", r"\1:<port>"),
    (r"(pid )\d+", r"\1<pid>"),
]


def blocks(text, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block):
    """Each command of a console block, with the output that follows it."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [part.split("\n", 1) for part in parts]


SERVE = re.compile(r"logstore serve(.*) &")
USUAL_PORTS = [STORE_SETTINGS[it.port_setting].default for it in DOORS]


class Shell:
    """Runs what a page shows, in one folder; a server that it starts ends with it."""

    def __init__(self, folder):
        self.folder = folder
        self.server = None
        bin_folder = Path(sys.executable).parent
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LOGSTORE_", "PYTEST_"))}
        self.environment = kept
        self.environment["PATH"] = f"{bin_folder}:{self.environment['PATH']}"
        self.ports = {}  # usual port -> the server's

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            self.server.communicate(timeout=DEADLINE_S)

    def run(self, command):
        """What the command prints, standard error after standard output."""
        if serve := SERVE.fullmatch(command):
            return self._serve(serve[1].split())
        done = subprocess.run(
            ["bash", "-c", self._to_the_server(command)], cwd=self.folder, env=self.environment,
            capture_output=True, check=False, timeout=DEADLINE_S,
        )  # fmt: skip
        return shown((done.stdout + done.stderr).decode())

    def _serve(self, options):
        ports = [word for door in DOORS for word in (f"--{door.name}-port", "0")]
        self.server = subprocess.Popen(
            [Path(sys.executable).with_name("logstore"), "serve", *options, *ports],
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        lines = [self.server.stdout.readline() for _ in DOORS]
        its = [int(re.search(r":(\d+)/?$", line)[1]) for line in lines]
        self.ports = dict(zip(USUAL_PORTS, its, strict=True))
        return "".join(lines)

    def _to_the_server(self, text):
        """The text with the ports of the server, where it has those that are usual."""
        for usual, port in self.ports.items():
            text = re.sub(rf'(127\.0\.0\.1(:|", )|\bport=|-p ){usual}\b', rf"\g<1>{port}", text)
        return text

    def run_python(self, code):
        """What it prints."""
        usual = STORE_SETTINGS[AMQP.port_setting].default
        code = code.replace('Parameters("127.0.0.1")', f'Parameters("127.0.0.1", {usual})')
        done = subprocess.run(
            [sys.executable, "-c", self._to_the_server(code)], cwd=self.folder,
            env=self.environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert done.stderr == ""
        return shown(done.stdout)


def runs(text):
    """What a page has run, in order: (language, what is run, what it prints)."""
    found = []
    for language, block, told in re.findall(
        r"^```(console|python)\n(.*?)^```\n(?:\n?```text\n(.*?)^```$)?",
        text,
        re.MULTILINE | re.DOTALL,
    ):
        if language == "console":
            found += [(language, command, expected) for command, expected in commands(block)]
        elif told:
            found.append((language, block, told))
    return found


def shown(output):
    """An output as README.md shows it: not too long, not too wide."""
    lines = output.splitlines()
    if len(lines) > LINES_SHOWN:
        lines = [*lines[: LINES_SHOWN - 1], "..."]
    cut = (line if len(line) <= WIDTH_SHOWN else line[: WIDTH_SHOWN - 3] + "..." for line in lines)
    return "".join(line.rstrip() + "\n" for line in cut)


def steady(output):
    """The output without what differs from run to run, and without its alignment."""
    for pattern, replacement in VOLATILE:
        output = re.sub(pattern, replacement, output)
    return re.sub(r"[ ]+", " ", output)


def in_a_clone(folder):
    """Make the folder look as a clone does to the commands of README.md."""
    for name in ("segments", "examples"):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_prints_what_the_page_says(page, tmp_path):
    text = page.read_text()
    if "$ curl" in text and shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    with Shell(in_a_clone(tmp_path)) as shell:
        for language, what, expected in runs(text):
            run = shell.run if language == "console" else shell.run_python
            assert steady(run(what)) == steady(expected), what


def test_the_pages_have_commands():
    found = [command for page in PAGES for block in blocks(page.read_text(), "console")
             for command in commands(block)]  # fmt: skip
    assert len(found) > 50


def test_readme_is_read_in_a_few_minutes():
    assert len(README.read_text().split()) <= 1400


def test_the_library_examples_run(tmp_path):
    page = (REPOSITORY / "docs" / "library.md").read_text()
    examples = blocks(page, "python")
    assert blocks(README.read_text(), "python") == examples[:1]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    with logstore.open(tmp_path / "data", "read") as store, store.consumer("bills") as bills:
        assert sorted(it.value for it in bills) == [
            b"bill for a cake", b"bill for one coffee", b"bill for two teas",
        ]  # fmt: skip
        assert sum(it.committed for it in store.group("clerk").describe()) == 3
    assert sorted(line.split(" ", 2)[2] for line in done.stdout.splitlines()) == [
        "b'k1' b'a cake'",
        "b'k1' b'one coffee'",
        "b'k2' b'two teas'",
    ]


def test_the_page_on_tests_shows_the_example_as_it_is():
    page = (REPOSITORY / "docs" / "testing.md").read_text()
    for path in sorted((REPOSITORY / "examples" / "orders").glob("*.py")):
        assert path.read_text() in blocks(page, "python"), path.name


def test_the_page_on_tests_names_every_fixture():
    from pytest_logstore import plugin

    page = (REPOSITORY / "docs" / "testing.md").read_text()
    for name in (*plugin.OF_A_SERVER, "logstore_store"):
        assert f"`{name}`" in page, name
    for name in ("logstore_reset", "logstore_settings", "--logstore-reset", plugin.TEST_URL):
        assert f"`{name}" in page, name


def test_the_tests_that_a_page_shows_pass(tmp_path):
    page = (REPOSITORY / "docs" / "how-to" / "use-it-in-tests.md").read_text()
    [(code, told)] = re.findall(
        r"^```python\n(.*?)^```\n.*?^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    (tmp_path / "test_events.py").write_text(code)
    with Shell(tmp_path) as shell:
        printed = shell.run("pytest -q -p no:cacheprovider test_events.py")
    assert steady(printed) == steady(told)


def test_the_page_on_asyncio_shows_the_example_as_it_is():
    page = (REPOSITORY / "docs" / "asyncio.md").read_text()
    assert (REPOSITORY / "examples" / "web" / "fast.py").read_text() in blocks(page, "python")


def files_of(line):
    """The files that a row names: those without a folder are in that of the name before."""
    folder = ""
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", line):
        if "/" in name:
            folder, name = name.rsplit("/", 1)
            folder += "/"
        if name:
            yield folder + name


def test_every_file_has_its_place_on_the_map():
    """docs/files.md names each file of the packages, and no other."""
    text = (REPOSITORY / "docs" / "files.md").read_text()
    named = {name for line in text.splitlines() for name in files_of(line)}
    files = {
        str(path.relative_to(folder))
        for folder in (REPOSITORY / it for it in ("logstore", "cli", "pytest_logstore"))
        for path in folder.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") and "messages" not in path.parts
    }
    assert files - named == set()
    assert named - files == set()


def test_all_that_is_counted_as_held_for_peers_has_its_row():
    """The table in docs/decisions.md names each file that says how much it holds, and no other."""
    text = (REPOSITORY / "docs" / "decisions.md").read_text()
    table = text[text.index("| held for a peer |") :].split("\n\n")[0]
    named = set(re.findall(r"`([\w/]+\.py)`", table))
    says = re.compile(r"def held_bytes|self\.held_bytes|_HELD_BYTES|\.held_bytes\b|OBJECT_BYTES \*")
    package = REPOSITORY / "logstore"
    saying = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if says.search(path.read_text())
    }
    assert saying - named - {"protocols/session.py"} == set()
    assert all((package / it).exists() for it in named)


def test_the_page_on_http_has_every_route():
    """The table in docs/http-api.md is the one that requests are looked up in."""
    text = (REPOSITORY / "docs" / "http-api.md").read_text()
    assert routes_table() in text
    assert rabbit_table() in (REPOSITORY / "docs" / "rabbitmq-api.md").read_text()


def routes_table():
    rows = [
        f"| {it.method} | `{it.path}` | {', '.join(it.query)} | {it.asks} | {it.summary} |"
        for it in ROUTES
        if not is_of(it.path.encode())
    ]
    return "\n".join([ROUTES_HEAD, "|---|---|---|---|---|", *rows, ""])


def rabbit_table():
    rows = [
        f"| {it.method} | `{it.path}` | {it.asks} | {it.summary} |"
        for it in ROUTES
        if is_of(it.path.encode())
    ]
    return "\n".join(["| method | path | who may | does |", "|---|---|---|---|", *rows, ""])


ROUTES_HEAD = "| method | path | parameters | who may | does |"


def write_routes():
    """Put the tables of routes as they are now into their pages: ``test_docs.py --routes``."""
    for name, table in (("http-api.md", routes_table()), ("rabbitmq-api.md", rabbit_table())):
        page = REPOSITORY / "docs" / name
        before, _, rest = page.read_text().partition("| method |")
        page.write_text(f"{before}{table}\n{rest.partition(chr(10) * 2)[2]}")


def write():
    """Put what the commands print now into the pages."""
    import tempfile

    names = sys.argv[sys.argv.index("--write") + 1 :]  # of pages; else all
    for page in [it for it in PAGES if it.name in names or not names]:
        text, done = page.read_text(), 0  # up to where it is written
        with tempfile.TemporaryDirectory() as name, Shell(in_a_clone(Path(name))) as shell:
            for language, what, expected in runs(text):
                run = shell.run if language == "console" else shell.run_python
                printed = run(what).replace(name + "/", "/home/you/")
                for usual, port in shell.ports.items():
                    printed = re.sub(rf"(0\.0\.[01]:){port}\b", rf"\g<1>{usual}", printed)
                if steady(printed) == steady(expected):
                    printed = expected
                before, after = (
                    f"$ {what}\n{it}" if language == "console" else f"{what}```\n\n```text\n{it}"
                    for it in (expected, printed)
                )
                at = text.index(before, done)
                text = text[:at] + after + text[at + len(before) :]
                done = at + len(after)
        page.write_text(text)


if __name__ == "__main__" and "--write" in sys.argv:
    write()
if __name__ == "__main__" and "--routes" in sys.argv:
    write_routes()
