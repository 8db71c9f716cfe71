"""Options that say who a command is to a server; and profile files, which say the same."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperOption

from .command import CONNECTION, Command
from .ends import say
from .login import MECHANISMS, Login, Tls

PROFILE_BYTES_MAX: Final = 64 << 10
STANDARD_INPUT: Final = "-"
GIVEN: Final = "logstore.login"  # below the context: what the options say


class Client(Command):
    """A command that may have to log in at a server: it has the options that say how."""

    _own: list[TyperOption] | None = None

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401  typer's own
        if self._own is None:
            self._own = _options()
            self.params[-1:-1] = self._own
        return super().get_params(ctx)


def _options() -> list[TyperOption]:
    return [
        _option("--user", "NAME", "The user to log in to the server as."),
        _option(
            "--password-file",
            "FILE",
            "The file that holds the password on one line; without this option the password is"
            " asked for at the terminal.",
        ),
        _option(
            "--tls-ca",
            "FILE",
            "Connect with TLS and trust the certificates in this file.",
        ),
        _option(
            "--profile",
            "FILE",
            "A TOML file with user, password-file, tls-ca and so on; options override the file.",
            envvar="LOGSTORE_PROFILE",
        ),
    ]


def _option(name: str, metavar: str, help_: str, envvar: str | None = None) -> TyperOption:
    def remember(ctx: Any, param: object, text: str | None) -> None:  # noqa: ANN401
        if text is not None:
            ctx.meta.setdefault(GIVEN, {})[name] = text

    return TyperOption(
        param_decls=[name],
        metavar=metavar,
        callback=remember,
        expose_value=False,
        is_eager=True,  # the callback of --data looks for it
        envvar=envvar,
        rich_help_panel=CONNECTION,
        help=help_,
    )


def login_of(ctx: typer.Context) -> Login | None:
    """The login that options describe; None without such options. Invalid ones are usage errors."""
    given: Mapping[str, str] = ctx.meta.get(GIVEN, {})
    if not given:
        return None
    profile = given.get("--profile")
    found = {} if profile is None else read_profile(Path(profile))
    if "--user" in given:  # another user has another password
        found = {it: found[it] for it in found if it not in ("password", "password-file")}
    for name in ("--user", "--password-file", "--tls-ca"):
        if name in given:
            found[name[2:]] = given[name]
            if name == "--password-file":
                found.pop("password", None)
    if given.get("--password-file") == STANDARD_INPUT:
        raise wrong("must be a file, because standard input may carry records", "--password-file")
    if "--tls-ca" in given:
        found["tls"] = True
    login = login_from(found)
    login.asked = given.keys() != {"--profile"}
    return login


def login_from(found: Mapping[str, Any]) -> Login:
    """The login in a profile or in options. Invalid values are usage errors."""
    user = str(found.get("user", ""))
    if not user and any(it in found for it in ("password", "password-file", "mechanism")):
        raise wrong("a password needs a user: use --user NAME", "--password-file")
    ca, certificate, key = (_path(found, it) for it in ("tls-ca", "tls-cert", "tls-key"))
    if key is not None and certificate is None:
        raise wrong("tls-key needs tls-cert, the certificate of the key")
    secure = found.get("tls", ca is not None or certificate is not None)
    tls = Tls(ca, certificate, key) if secure else None
    return Login(user, _secret(user, found), str(found.get("mechanism", "")), tls)


def _secret(user: str, found: Mapping[str, Any]) -> Callable[[], str]:
    from .passwords import of_file, typed

    if "password" in found:
        password = str(found["password"])
        return lambda: password
    file = _path(found, "password-file")
    return (lambda: typed(f"Password of {user}: ")) if file is None else (lambda: of_file(file))


def _path(found: Mapping[str, Any], name: str) -> Path | None:
    return Path(found[name]) if name in found else None


def wrong(message: str, option: str = "--profile") -> typer.BadParameter:
    """A usage error about an option, even if another option's callback has noticed it."""
    return typer.BadParameter(message, param_hint=f"'{option}'")


# The profile: its words, and the types of their values.
WORDS: Final[dict[str, type]] = {
    "user": str,
    "password": str,
    "password-file": str,
    "mechanism": str,
    "tls": bool,
    "tls-ca": str,
    "tls-cert": str,
    "tls-key": str,
}
_FILES: Final = ("password-file", "tls-ca", "tls-cert", "tls-key")


def read_profile(path: Path) -> dict[str, Any]:
    """The profile's values; its files are relative to it. An invalid profile is a usage error of
    one line.
    """
    import tomllib

    try:
        with path.open("rb") as file:
            data = file.read(PROFILE_BYTES_MAX)
            mode = os.fstat(file.fileno()).st_mode
        found = tomllib.loads(data.decode())
    except OSError as error:
        raise wrong(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise wrong(f"{path}: not TOML: {_without_text(error)}") from None
    for name, value in found.items():
        _check_word(path, name, value)
    if "password" in found:
        from .passwords import OTHERS

        if mode & OTHERS:
            say(f"logstore: warning: {path}: other users can read this password: chmod 600 {path}")
    return found | {it: str(path.parent / found[it]) for it in _FILES if it in found}


def _without_text(error: ValueError) -> str:
    """The error and its place, without the text itself, which may be a password."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    where = str(error).rpartition("(at ")[2].rstrip(")")
    return f"see {where}" if where else "it ends too soon"


def _check_word(path: Path, name: str, value: object) -> None:
    from logstore.config import nearest

    if name not in WORDS:
        raise wrong(
            f"{path}: unknown key {name!r} in the profile{nearest(name, WORDS)}; the keys are"
            f" {', '.join(WORDS)}"
        )
    if not isinstance(value, WORDS[name]) or value == "":
        takes = "true or false" if WORDS[name] is bool else "a text"
        raise wrong(f"{path}: {name}: must be {takes}")
    if name == "mechanism" and value not in MECHANISMS:
        raise wrong(f"{path}: mechanism: must be one of {', '.join(MECHANISMS)}")
