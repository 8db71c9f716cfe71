"""What a release says of itself: ``python -m tests.packaging.notes v1.2.3`` prints it.

It is the version's section of CHANGELOG.md. The command fails where the tag, the version in the
sources and the changelog do not agree.
"""

import re
import sys
import tomllib

from .built import REPO, version_of


class NotReady(Exception):
    """Why this is not to be released; one line."""


def sections(changelog):
    """Heading -> what stands below it, in order."""
    parts = re.split(r"^## (.+)\n", changelog, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def notes(tag, version, changelog, url):
    """The section of that version; links into the repository lead to the tag."""
    if tag != f"v{version}":
        raise NotReady(f"{tag}: logstore/version.py has {version!r}, whose tag is v{version}")
    found = sections(changelog)
    if [*found][:1] != ["Unreleased"] or found["Unreleased"].strip():
        raise NotReady("CHANGELOG.md: begin with an empty section 'Unreleased'; move its lines")
    heading = [*found][1] if len(found) > 1 else ""
    if not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", heading):
        raise NotReady(f"CHANGELOG.md: '## {heading}' should be '## {version} (YYYY-MM-DD)'")
    return re.sub(r"\]\((?!https?:|#)", f"]({url}/blob/{tag}/", found[heading].strip()) + "\n"


if __name__ == "__main__":
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    try:
        print(end=notes(
            sys.argv[1], version_of(REPO), (REPO / "CHANGELOG.md").read_text(),
            project["urls"]["Homepage"],
        ))  # fmt: skip
    except NotReady as reason:
        sys.exit(str(reason))
