"""What the hosting runs and shows: workflows, forms, the development container, release notes."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.packaging.notes import NotReady, notes

REPO = Path(__file__).parents[2]
GITHUB = REPO / ".github"
WORKFLOWS = {it.stem: yaml.safe_load(it.read_text()) for it in (GITHUB / "workflows").glob("*.yml")}
FORMS = sorted(it for it in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if it.stem != "config")
TARGETS = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
PYTHON = "Programming Language :: Python :: "
PYTHONS = [
    it.removeprefix(PYTHON) for it in PROJECT["classifiers"]
    if re.fullmatch(re.escape(PYTHON) + r"3\.\d+", it)
]  # fmt: skip
ABOVE = ("", "logstore", "tests", "tests/kit", "tests/crash")  # a name's folder may be in the text
ON = True  # as YAML 1.1 reads the key `on`
PINNED = re.compile(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)|\./\.github/workflows/ci\.yml")


def made(command):
    """The targets that a shell command makes."""
    words = [word for line in re.findall(r"\bmake ([^&|;\n]*)", command) for word in line.split()]
    return [word for word in words if "=" not in word]


def steps():
    for name, workflow in WORKFLOWS.items():
        for job in workflow["jobs"].values():
            for step in job.get("steps", [job]):
                yield name, step


def test_all_that_is_made_are_targets_of_the_makefile():
    found = {it: set() for it in WORKFLOWS}
    for name, step in steps():
        found[name].update(made(step.get("run", "")))
    assert found == {
        "ci": {"lint", "test", "test-all", "dist-try"},
        "release": {"release-notes", "dist-try"},
    }
    assert set.union(*found.values()) <= TARGETS


def test_the_tests_run_on_every_python_that_is_promised():
    """Those of the classifiers, and no other; the oldest is what pip demands."""
    jobs = WORKFLOWS["ci"]["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == PYTHONS
    assert jobs["dist"]["strategy"]["matrix"]["python"] == [PYTHONS[0], PYTHONS[-1]]
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    single = {step["with"]["python-version"] for _, step in steps() if "setup-python" in str(step)}
    assert single == {PYTHONS[0], "${{ matrix.python }}"}


def test_a_release_is_published_by_its_tag_after_all_checks_and_without_a_stored_token():
    ci, release = WORKFLOWS["ci"], WORKFLOWS["release"]
    assert release[ON] == {"push": {"tags": ["v*"]}}
    assert "workflow_call" in ci[ON]
    assert release["jobs"]["pypi"]["needs"] == ["checks", "build"]
    assert "secrets." not in json.dumps([*map(str, (ci, release))])
    for workflow in (ci, release):
        assert workflow["permissions"] == {"contents": "read"}
    rights = {name: job.get("permissions") for name, job in release["jobs"].items()}
    assert rights == {
        "checks": None, "build": None,
        "pypi": {"id-token": "write"}, "page": {"contents": "write"},
    }  # fmt: skip


def test_every_action_has_a_version_and_every_job_a_limit():
    for name, step in steps():
        if "uses" in step:
            assert PINNED.fullmatch(step["uses"]), (name, step["uses"])
    for workflow in WORKFLOWS.values():
        for job in workflow["jobs"].values():
            assert "uses" in job or job["timeout-minutes"] > 0


@pytest.mark.parametrize("path", FORMS, ids=lambda it: it.stem)
def test_a_form_is_one_that_the_hosting_shows(path):
    form = yaml.safe_load(path.read_text())
    assert set(form) == {"name", "description", "labels", "body"}
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names) > 2
    for field in form["body"]:
        assert set(field) <= {"type", "id", "attributes", "validations"}
        assert field["type"] in ("input", "textarea", "dropdown")
        assert ("options" in field["attributes"]) == (field["type"] == "dropdown")
        assert field["attributes"]["label"]
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_vulnerabilities_are_led_away_from_the_forms():
    config = yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "config.yml").read_text())
    assert config["blank_issues_enabled"] is False
    [link] = config["contact_links"]
    assert link["url"].startswith(PROJECT["urls"]["Homepage"])


def test_what_a_pull_request_asks_for_can_be_made():
    text = (GITHUB / "pull_request_template.md").read_text()
    found = {it for command in re.findall(r"`(make [^`]*)`", text) for it in made(command)}
    assert found == {"lint", "test", "test-all"}
    for path in re.findall(r"`(docs/\w+\.md)`", text):
        assert (REPO / path).exists()


def test_the_page_for_contributors_names_files_and_targets_that_there_are():
    text = (REPO / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`([\w.-]+/[\w./-]*|\w+\.(?:py|toml|yml|md))`", text)
    paths = {it for it in named if "NAME" not in it and it != ".venv/"}
    missing = {it for it in paths if not any((REPO / above / it).exists() for above in ABOVE)}
    assert missing == set()
    assert len(paths) > 60
    commands = re.findall(r"`(?:ruff format \. && )?(make [a-z][^`]*)`", text)
    assert {it for command in commands for it in made(command)} <= TARGETS


def test_the_development_container_has_a_promised_python_and_makes_a_target():
    container = json.loads((REPO / ".devcontainer" / "devcontainer.json").read_text())
    assert container["image"].rsplit(":")[-1] in PYTHONS
    assert set(made(container["postCreateCommand"])) <= TARGETS
    assert made(container["postCreateCommand"])


# Release notes ------------------------------------------------------------------------------------

URL = "https://example.org/it"
LOG = "# Changelog\n\n## Unreleased\n\n## 1.2.0 (2026-12-01)\n\n### Added\n\n- [x](docs/x.md)\n"


def test_a_release_says_what_its_section_says_and_its_links_lead_to_the_tag():
    told = notes("v1.2.0", "1.2.0", LOG + "\n## 1.1.0 (2026-11-01)\n\n- old\n", URL)
    assert told == f"### Added\n\n- [x]({URL}/blob/v1.2.0/docs/x.md)\n"


@pytest.mark.parametrize(
    ("tag", "log", "reason"),
    [
        ("v1.2.1", LOG, "has '1.2.0', whose tag is v1.2.0"),
        ("none", LOG, "whose tag is"),
        ("v1.2.0", LOG.replace("## 1.2.0", "- new\n\n## 1.2.0"), "move its lines"),
        ("v1.2.0", LOG.replace("## Unreleased\n\n", ""), "begin with an empty section"),
        ("v1.2.0", LOG.replace(" (2026-12-01)", ""), "should be '## 1.2.0 (YYYY-MM-DD)'"),
        ("v1.2.0", LOG.replace("1.2.0", "1.1.0"), "'## 1.1.0 (2026-12-01)' should be"),
        ("v1.2.0", "# Changelog\n\n## Unreleased\n", "'## ' should be"),
    ],
)
def test_a_release_whose_parts_do_not_agree_is_refused(tag, log, reason):
    with pytest.raises(NotReady, match=re.escape(reason)):
        notes(tag, "1.2.0", log, URL)


def test_a_program_beside_a_clone_imports_the_package_not_the_clones_directory(tmp_path):
    """Where a user clones into ~/logstore, and runs ~/try.py: the environment names the clone."""
    assert "echo '$(CURDIR)' > checkout.pth" in (REPO / "Makefile").read_text()
    (tmp_path / "logstore").mkdir()
    program = "import logstore; print(callable(logstore.open))"
    named = f"import sys; sys.path += [{str(REPO)!r}]; {program}"  # as a line of a .pth file
    done = subprocess.run(
        [sys.executable, "-c", named], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
