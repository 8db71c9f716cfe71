"""The page's files: small, complete, and such that nothing a peer sends can become markup."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import logstore
from logstore.broker.queues import picture

PAGE = Path(logstore.__file__).parent / "page"
FILES = [it for it in PAGE.rglob("*") if it.is_file()]
SCRIPTS = [it for it in FILES if it.suffix == ".js"]
# What makes markup, styles or code of a text; a strict policy would refuse it in the browser, too.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|\beval\b"
    r"|new Function|createContextualFragment|setHTML|javascript:|\bstyle\s*:|setAttribute\(.style"
)
IMPORTED = re.compile(r"""(?:from|import\()\s*"(\.[^"]+)\"""")


def loaded(script):
    """A script and all that it imports at once."""
    found, left = set(), [script]
    while left:
        it = left.pop()
        if it not in found:
            found.add(it)
            static = re.findall(r'from\s*"(\.[^"]+)"', it.read_text())
            left += [(it.parent / one).resolve() for one in static]
    return found


@pytest.mark.parametrize("view", sorted((PAGE / "views").glob("*.js")), ids=lambda it: it.stem)
def test_what_a_view_loads_is_under_150_kb(view):
    files = loaded(PAGE / "main.js") | loaded(view)
    files |= {it for it in FILES if it.suffix != ".js"}
    sizes = {str(it.relative_to(PAGE)): it.stat().st_size for it in files}
    assert sum(sizes.values()) < 150_000, sizes


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda it: it.stem)
def test_no_text_becomes_markup(script):
    assert FORBIDDEN.search(script.read_text()) is None


def test_nothing_is_fetched_from_elsewhere_and_every_address_is_relative():
    for it in FILES:
        text = it.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, it
        assert not re.search(r"""(href|src)=["']/|url\(["']?/|fetch\(["'`]/""", text), it


def imports(script):
    return {(script.parent / it).resolve() for it in IMPORTED.findall(script.read_text())}


def test_every_import_names_a_file_and_every_file_is_used():
    used = set().union(*map(imports, SCRIPTS)) | {PAGE / "main.js"}
    assert used == set(SCRIPTS)


def test_what_is_needed_first_is_asked_for_at_once():
    """Else a browser learns of each file only from the one before it."""
    index = (PAGE / "index.html").read_text()
    named = set(re.findall(r'(?:href|src)="([^"]+\.js)"', index))
    needed = {it for it in loaded(PAGE / "main.js") if it.parent == PAGE}
    assert named == {it.name for it in needed}


def test_no_import_is_left_unused():
    for script in SCRIPTS:
        text = script.read_text()
        for names in re.findall(r"import \{([^}]+)\} from", text):
            for name in names.split(","):
                word = name.split(" as ")[-1].strip()
                assert len(re.findall(rf"\b{word}\b", text)) > 1, (script.name, word)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_texts_json_and_addresses():
    """The modules that need no page, tested in their own language."""
    done = subprocess.run(
        ["node", "--test", Path(__file__).with_name("pure.test.mjs")],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_words_for_all_flags_of_the_picture():
    words = re.search(
        r"const FLAGS = \{.*?\};", (PAGE / "views/routing.js").read_text(), re.DOTALL
    )[0]
    for flag in (picture.UNBOUND, picture.NO_CONSUMER, picture.LOOP, picture.MISSING,
                 picture.UNKNOWN_TYPE, picture.FAILED):  # fmt: skip
        assert re.search(rf'"?{flag}"?: "', words), flag
