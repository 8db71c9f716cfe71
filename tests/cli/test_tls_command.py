"""``logstore tls self-signed``."""

import os
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from serving import COMMAND

from logstore.certificates import Files, load


def self_signed(folder, *words, code=0, **how):
    done = subprocess.run(
        [COMMAND, "tls", "self-signed", "--into", folder, *words],
        capture_output=True, text=True, check=False, **how,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def loaded(folder, client_ca=None):
    return load(Files(folder / "server.pem", folder / "server.key", client_ca, False))


@pytest.mark.long
def test_an_authority_and_what_it_signs(tmp_path):
    folder = tmp_path / "a" / "tls"
    told = self_signed(folder, umask=0)
    made, *lines = told.splitlines()
    assert made == f"made ca.key, ca.pem, server.key, server.pem in {folder}"
    assert lines == [f'tls.cert = "{folder}/server.pem"', f'tls.key = "{folder}/server.key"']
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    modes = {it.name: stat.S_IMODE(it.stat().st_mode) for it in folder.iterdir()}
    assert modes == {"ca.key": 0o600, "ca.pem": 0o644, "server.key": 0o600, "server.pem": 0o644}
    it = loaded(folder, folder / "ca.pem")
    assert it.names[:3] == ["localhost", "127.0.0.1", "0:0:0:0:0:0:0:1"]
    assert it.shown["subject"] != it.shown["issuer"]
    # What signs is what is there: a client gets a certificate of the same authority.
    told = self_signed(folder, "--client", "alice", "--client", "bo")
    assert f'tls.client.ca = "{folder}/ca.pem"' in told
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "alice.pem", folder / "alice.key")
    assert b"BEGIN" in (folder / "bo.key").read_bytes()


@pytest.mark.long
def test_the_names_that_clients_connect_to(tmp_path):
    self_signed(tmp_path, "--name", "broker.example", "--name", "10.0.0.5", "--name", "*.example")
    it = loaded(tmp_path)
    assert it.names == ["broker.example", "10.0.0.5", "*.example"]
    assert it.covers("a.example")


@pytest.mark.long
def test_nothing_is_written_over(tmp_path):
    self_signed(tmp_path, "--client", "al")
    before = {it: it.read_bytes() for it in tmp_path.iterdir()}
    assert "server.pem already exists" in self_signed(tmp_path, code=1)
    assert "al.pem already exists" in self_signed(
        tmp_path, "--client", "bo", "--client", "al", code=1
    )
    assert {it: it.read_bytes() for it in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--name", "a b"), "'a b': must be an IP address or a host name"),
        (("--name", ""), "must be an IP address or a host name"),
        (("--name", "a" * 300), "must be an IP address or a host name"),
        (("--client", "../al"), "without a slash"),
        (("--client", "ca"), "other than ca"),
        (("--client", ""), "a name of 1 to 64 characters"),
        (("--client", "a\nb"), "a name of 1 to 64 characters"),
        (("--days", "0"), "--days"),
    ],
)
@pytest.mark.long
def test_a_name_that_cannot_be_one_is_a_usage_error(tmp_path, words, why):
    said = self_signed(tmp_path / "none", *words, code=2)
    assert why in said
    assert said.count("\n") == 1
    assert not (tmp_path / "none").exists()


BROKEN = {
    "no key": lambda it: (it / "ca.key").unlink(),
    "a key that is none": lambda it: (it / "ca.key").write_text("x"),
    "a certificate that is none": lambda it: (it / "ca.pem").write_text("x"),
    "a folder": lambda it: ((it / "ca.pem").unlink(), (it / "ca.pem").mkdir()),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.long
def test_an_authority_that_is_damaged_signs_nothing(tmp_path, case):
    self_signed(tmp_path)
    BROKEN[case](tmp_path)
    said = self_signed(tmp_path, "--client", "al", code=1)
    assert "the authority can't be used" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "al.pem").exists()


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_not_be_written_is_one_line(tmp_path):
    tmp_path.chmod(0o500)
    said = self_signed(tmp_path / "tls", code=1)
    assert "can't be written" in said


@pytest.mark.long
def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    said = self_signed(tmp_path / "file", code=1)
    assert said.count("\n") == 1
    assert "can't be written" in said


WITHOUT = """
import sys
sys.modules["cryptography"] = None
from logstore_cli.main import main
sys.argv = ["logstore", "tls", "self-signed", "--name", "localhost", "--name", "127.0.0.1"]
main()
"""


@pytest.mark.long
def test_without_the_library_openssl_is_named_and_does_the_same(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    first, *command = done.stderr.splitlines()
    assert "pip install 'logstore[tls]'; or run" in first
    assert len(command) == 2
    subprocess.run("\n".join(command), shell=True, check=True, cwd=tmp_path, capture_output=True)
    assert load(
        Files(Path(tmp_path / "server.pem"), Path(tmp_path / "server.key"), None, False)
    ).names == ["localhost", "127.0.0.1"]


@pytest.mark.long
def test_no_other_command_imports_the_library():
    script = """
import sys
from logstore_cli.app import app
import typer
list(typer.main.get_command(app).commands.values())
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not {"cryptography", "cffi"} & {it.partition(".")[0] for it in done.stdout.split()}
