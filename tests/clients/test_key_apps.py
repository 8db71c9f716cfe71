"""Applications as they are, with this server as their cache, result store and queue."""

import subprocess
from pathlib import Path

import pytest
from own_venv import python_with
from serving import Serving

APPS = Path(__file__).parent / "key_apps" / "apps.py"
DEADLINE_S = 120
# What can't be installed beside arq has an environment of its own.
ENVIRONMENTS = {"celery": "keys-celery", "flower": "keys-celery"}


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    serving = Serving(tmp_path_factory.mktemp("apps") / "data")
    yield serving
    code, errors = serving.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.mark.long
@pytest.mark.parametrize(
    "app",
    ["django_core", "django_redis", "channels_core", "channels_pubsub", "flask_caching", "dogpile",
     "arq", "huey", "celery", "flower", "locks", "aiocache"],
)  # fmt: skip
def test_it_works_as_with_redis(serving, app):
    python = python_with(ENVIRONMENTS.get(app, "keys"))
    host, port = serving.redis
    done = subprocess.run(
        [python, APPS, app, host, str(port)], capture_output=True, text=True, timeout=DEADLINE_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("done\n")
