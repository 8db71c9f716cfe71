"""Each link of the pages leads to a file, and to a heading of it; the site has every page.

`make docs` checks the same while it builds the site. This reads the pages only.
"""

import os
import re
import unicodedata
from functools import cache
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
SITE = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())
SERVED = REPOSITORY / SITE["docs_dir"]
PAGES = sorted(
    Path(folder, name)
    for folder, _, names in os.walk(SERVED, followlinks=True)
    for name in names
    if name.endswith(".md")
)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def on_hosting_sites(heading):
    """The anchor that hosting sites give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def in_the_site(heading):
    """The anchor that mkdocs gives it."""
    letters = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", letters).strip().lower())


def prose(path):
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(path):
    """What links to headings of the page can name, wherever the page is shown."""
    headings = [
        re.sub(r"\[([^]]*)\]\([^)]*\)|`", r"\1", it).strip()
        for it in re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    ]
    return {on_hosting_sites(it) for it in headings} & {in_the_site(it) for it in headings}


def broken(page, text):
    """The links of a text that lead nowhere, if it stands in the page."""
    for path, anchor in LINK.findall(text):
        # A browser does not know that docs/.. is elsewhere on disk.
        at = Path(os.path.normpath(page.parent / path)) if path else page
        if not at.exists():
            yield path
        elif anchor and anchor not in anchors(at):
            yield f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda it: it.name)
def test_links_lead_somewhere(page):
    assert list(broken(page.resolve(), prose(page))) == []  # in the repository
    assert list(broken(page, prose(page))) == []  # in the site


def test_a_link_that_leads_nowhere_is_found():
    text = "[a](no.md) [b](why.md) [c](why.md#no) [d](#no) [e](https://no) [f](../README.md#topics)"
    found = list(broken(REPOSITORY / "docs" / "why.md", text))
    assert found == ["no.md", "why.md#no", "#no"]


def in_the_navigation(entries):
    for entry in entries:
        for its in entry.values():
            yield from [its] if isinstance(its, str) else in_the_navigation(its)


def test_every_page_is_in_the_navigation_once():
    named = list(in_the_navigation(SITE["nav"]))
    assert sorted(named) == sorted(str(it.relative_to(SERVED)) for it in PAGES)
