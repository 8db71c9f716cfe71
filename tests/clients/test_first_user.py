"""The first user of a store, made by ``logstore serve`` as the environment asks."""

import subprocess

import pytest
from serving import COMMAND, DEADLINE_S, Serving

pytestmark = pytest.mark.long


def users(data):
    done = subprocess.run(
        [COMMAND, "user", "list", "--data", data], capture_output=True, text=True, check=True
    )
    return [line.split()[0] for line in done.stdout.splitlines()[1:]]


@pytest.fixture
def password(tmp_path):
    path = tmp_path / "password"
    path.write_text("open sesame\n")
    path.chmod(0o600)
    return path


def test_the_first_user_is_made_once_and_what_the_environment_says_then_has_no_effect(
    tmp_path, password
):
    data = tmp_path / "data"
    server = Serving(data, admin_user="root", admin_password_file=password)
    assert users(data) == ["root"]
    code, errors = server.stop()
    assert code == 0
    [line] = errors.splitlines()
    assert line.endswith("added user root, an administrator, as LOGSTORE_ADMIN_USER says")
    assert "sesame" not in errors
    password.unlink()  # it is not needed any more
    server = Serving(data, admin_user="other", admin_password_file=password)
    assert users(data) == ["root"]
    assert server.stop()[0] == 0


def test_with_a_first_user_a_server_may_listen_beyond_this_machine(tmp_path, password):
    data = tmp_path / "data"
    server = Serving(data, admin_user="root", admin_password_file=password, listen_host="0.0.0.0")
    assert server.address.startswith("0.0.0.0:")
    assert "no users" not in server.stop()[1]


def refused(data, **settings):
    environment = {f"LOGSTORE_{name.upper()}": str(it) for name, it in settings.items()}
    done = subprocess.run(
        [COMMAND, "serve", "--data", data, "--kafka-port", "0", "--resp-port", "-1",
         "--amqp-port", "-1", "--mqtt-port", "-1", "--stomp-port", "-1", "--http-port", "-1"],
        capture_output=True, text=True, env=environment, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert not data.exists()
    return done.stderr


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"admin_user": "root"}, "LOGSTORE_ADMIN_USER is set, but LOGSTORE_ADMIN_PASSWORD_FILE is"),
        ({"admin_password_file": "f"}, "ADMIN_PASSWORD_FILE is set, but LOGSTORE_ADMIN_USER is"),
        ({"admin_user": "root", "admin_password_file": "/nowhere"}, "/nowhere: No such file"),
        ({"admin_user": "ANONYMOUS", "admin_password_file": "/dev/null"}, "no user can be called"),
        ({"admin_user": "root", "admin_password_file": "/dev/null"}, "the file holds no password"),
    ],
)
def test_half_a_first_user_is_one_line_and_nothing_is_made(tmp_path, settings, told):
    line = refused(tmp_path / "data", **settings)
    assert told in line
    assert len(line.splitlines()) == 1


def test_a_password_in_the_environment_is_not_taken_and_the_right_variable_named(tmp_path):
    lines = refused(tmp_path / "data", admin_user="root", admin_password="sesame")
    assert "LOGSTORE_ADMIN_PASSWORD (did you mean LOGSTORE_ADMIN_PASSWORD_FILE?)" in lines
    assert "sesame" not in lines
