"""What several commands take: where the topics are, the configuration, and a few words.

``--data`` and ``--bootstrap`` may stand before or after the command's name and its group's; the
last one counts.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import typer

from .ends import CommandFailed, say
from .login_options import login_of, wrong
from .progress import is_watched
from .similar import naming_the_nearest

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from logstore.broker.reading import OnDamage
    from logstore.config import Config
    from logstore.doors import Door
    from logstore.errors import StoreLocked
    from logstore.kept.groups import Groups
    from logstore.owner import Owner
    from logstore.store import Store

    from .login import Login
    from .place import Start
    from .printing import Lines
    from .site import Site

# Keys of values in the context, which nested commands share.
_DATA = "logstore.data"
_CONFIG_FILE = "logstore.config_file"
_BOOTSTRAP = "logstore.bootstrap"


class Where(Protocol):
    """Where topics are."""

    def reach(
        self, mode: Literal["read", "write"], *, create: bool = False
    ) -> "AbstractContextManager[Site]":
        """The site, closed at the end of the ``with`` block."""

    def reach_group(
        self, group: str | None, *, told: bool = False
    ) -> "AbstractContextManager[Site]":
        """As ``reach``, to read a group or to commit as one.

        ``told``: changes must appear in the audit log.
        """

    def check_new(self, name: str, settings: Mapping[str, str]) -> None:
        """Raise LogstoreError if such a topic is impossible, as far as this side knows."""

    def beside(self, path: Path) -> "DataDir":
        """Another data directory with the same options."""


# For the help of every option that takes a time.
TIMES = "A time is 2013-01-05T00:00 (UTC without a zone), @1357344000, -1h or now."

# As DataDir.check_own takes it: of commands that can ask the cluster itself, and that can not.
TOPICS = "topics and groups", "use --bootstrap CLUSTER"
UPKEEP = "topics and queues", "use its own tools"

# A server's wildcard addresses, which are no one's address.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def _to_connect(endpoint: str | None) -> str | None:
    if endpoint is None:
        return None
    host, _, port = endpoint.rpartition(":")
    return f"{_EVERYWHERE.get(host, host)}:{port}"


@dataclass(frozen=True, slots=True)
class DataDir:
    """Where the store is, or is to be, and the file that configures it."""

    path: Path
    config_file: Path | None = None  # None: the directory's own
    login: "Login | None" = None  # at its server

    def __str__(self) -> str:
        return str(self.path)

    @contextmanager
    def reach(self, mode: Literal["read", "write"], *, create: bool = False) -> "Iterator[Site]":
        """The store; through its server's port if it is to be written and a server has it."""
        from logstore.errors import StoreLocked

        self.check_own(*TOPICS)
        with ExitStack() as stack:
            try:
                yield stack.enter_context(self.open(mode, create=create))
                return
            except StoreLocked as error:
                from logstore.doors import KAFKA

                server = self.server()
                if server is None:
                    raise self.no_door(KAFKA, error) from None
            yield stack.enter_context(server.reach(mode))

    @contextmanager
    def reach_group(self, group: str | None, *, told: bool = False) -> "Iterator[Site]":
        """As ``reach``, to commit as a group: through the group's one coordinator.

        That is the server's, if there is one. A group whose members use the directory without a
        server is left to them.
        """
        self.check_own(*TOPICS)
        with self.open("read") as store:
            server = None if group is None else self.server()
            table = store.internals().groups
            here = server is None or table is None or table.embedded(group or "")
            if not told and (here or _is_shared(table, group)):
                yield store
                return
        if server is None or here:
            with self._written() as store:
                yield store
            return
        with server.reach("write") as cluster:
            yield cluster

    @contextmanager
    def _written(self) -> "Iterator[Store]":
        """The store, opened to write unless another process has it; that process keeps the audit
        log.
        """
        from logstore.errors import StoreLocked

        with ExitStack() as stack:
            try:
                store = stack.enter_context(self.open("write"))
            except StoreLocked:
                store = stack.enter_context(self.open("read"))
            yield store

    def server(self) -> "ClusterAt | None":
        """The server that has the directory open, if any."""
        from logstore.doors import KAFKA

        address = self.endpoint(KAFKA)
        if address is None:
            return None
        host, _, port = address.rpartition(":")
        address = f"[{host}]:{port}" if ":" in host else address  # IPv6
        return ClusterAt(address, self.login, self.own_login)

    def own_login(self) -> "Login | None":
        """The login at the doors of its server: the given one, or the directory owner's.

        Without a user if no login is required. Raises Failed, Refused.
        """
        from .login import of_owner

        if self.login is not None and self.login.user:
            return self.login
        found = of_owner(self.path)
        if found is None:
            return self.login
        found.tls = None if self.login is None else self.login.tls
        return found

    def endpoint(self, door: "Door") -> str | None:
        """The address of this door of the server that has the directory open, if any."""
        secure = self.login is not None and self.login.tls is not None
        entrance = door.tls if secure else door.plain
        return _to_connect(self._endpoints().get(entrance.name))

    def is_secure(self, door: "Door") -> bool:
        """Whether the server's door accepts clients with TLS."""
        return door.tls.name in self._endpoints()

    def is_served(self) -> bool:
        """Whether a server that answers has the directory open."""
        return bool(self._endpoints())

    def _owner(self) -> "Owner | None":
        from logstore.storage.disk import Disk
        from logstore.storage.lock import owner_of
        from logstore.storage.names import LOCK

        return owner_of(Disk(), str(self.path / LOCK))

    def _endpoints(self) -> Mapping[str, str]:
        owner = self._owner()
        return {} if owner is None else owner.endpoints

    def check_own(self, what: str, instead: str) -> None:
        """Raise CommandFailed if a cluster's node has the directory, which then has no ``what``.

        ``instead``: the alternative, in which ``CLUSTER`` stands for the cluster.
        """
        owner = self._owner()
        if owner is not None and owner.cluster:
            raise CommandFailed(
                f"{self} belongs to a node of cluster {owner.cluster}, which stores {what}:"
                f" {instead.replace('CLUSTER', owner.cluster)}"
            )

    def no_door(self, door: "Door", locked: "StoreLocked") -> Exception:
        """The error for a command that needs this door, which is closed or has no server."""
        if locked.owner is None or not locked.owner.endpoints:
            return locked
        if door.tls.name in locked.owner.endpoints:
            return CommandFailed(f"{self}: {by_tls(door)}")
        return CommandFailed(
            f"{self}: its server, {locked.owner}, accepts no {door.clients} clients, which this"
            f" command needs: start the server with --{door.name}-port ({door.port_setting}),"
            " or stop it"
        )

    def beside(self, path: Path) -> "DataDir":
        """As Where.beside."""
        return replace(self, path=path)

    def check_new(self, name: str, settings: Mapping[str, str]) -> None:
        """Check name and settings of a topic. Raises InvalidName, UnknownSetting,
        InvalidSetting.
        """
        from logstore.config import check_topic_settings
        from logstore.names import check_topic

        check_topic(name)
        check_topic_settings(settings)

    @property
    def settings_file(self) -> Path:
        """The path of the settings file, which need not exist."""
        from logstore.storage.names import CONFIG

        return self.config_file or self.path / CONFIG

    def config(self) -> "Config":
        """The settings. Raises UnknownSetting, InvalidSetting."""
        from logstore.config import Config

        from .logs import show_warnings

        show_warnings()
        return Config.load(self.settings_file, os.environ)

    @contextmanager
    def open(
        self,
        mode: Literal["read", "write"],
        *,
        create: bool = False,
        config: "Config | None" = None,
    ) -> Iterator["Store"]:
        """The store, closed at the end of the ``with`` block."""
        from logstore.errors import LogstoreError
        from logstore.storage.names import CATALOG
        from logstore.store import open_store

        from .own_number import take_own_number

        take_own_number(self.path)
        is_new = create and not os.path.exists(self.path / CATALOG)
        store = open_store(self.path, mode, create=create, config=config or self.config())
        if is_new and is_watched():
            say(f"created store {self}", "info")
        try:
            with naming_the_nearest(store, lambda name: _has_queue(store, name)):
                yield store
        except BaseException:
            with suppress(LogstoreError):  # what went wrong first says more
                store.close()
            raise
        store.close()


def _has_queue(store: "Store", name: str) -> bool:
    """Whether the default virtual host has this durable queue, even if the store is read only."""
    from logstore.kept.queues import DEFAULT_VHOST
    from logstore.upkeep.tally import kept_routing

    kept = kept_routing(store.internals().directory)
    hosts = {it.id for it in kept.vhosts if it.name == DEFAULT_VHOST}
    return any(it.name == name and it.vhost in hosts for it in kept.queues)


@dataclass(frozen=True, slots=True)
class ClusterAt:
    """Where a Kafka cluster is, or a server of ours: in the place of a data directory."""

    bootstrap: str
    login: "Login | None" = None
    ask: "Callable[[], Login | None]" = lambda: None  # for a login, where one is wanted

    def __str__(self) -> str:
        return self.bootstrap

    @contextmanager
    def reach(self, mode: Literal["read", "write"], *, create: bool = False) -> "Iterator[Site]":
        """The cluster. Raises Failed if it does not answer."""
        from .cluster.address import Address
        from .cluster.cluster import Cluster

        address = Address(self.bootstrap, self.login, self.ask)
        with Cluster(address) as cluster, naming_the_nearest(cluster):
            yield cluster

    def reach_group(
        self, group: str | None, *, told: bool = False
    ) -> "AbstractContextManager[Site]":
        """As ``reach``: the cluster has the group's coordinator and the audit log."""
        return self.reach("write")

    def beside(self, path: Path) -> DataDir:
        """As Where.beside."""
        return DataDir(path)

    def check_new(self, name: str, settings: Mapping[str, str]) -> None:
        """Do nothing: the cluster checks topics, and may know other settings."""


def _is_shared(table: "Groups | None", group: str | None) -> bool:
    """Whether it is a share group, whose members are stored; librdkafka cannot describe it."""
    entry = None if table is None or group is None else table.load(group)
    return entry is not None and entry.kind == "share"


def by_tls(door: "Door") -> str:
    """The reason why a command without TLS is refused."""
    return (
        f"its server accepts {door.clients} clients only with TLS: use --tls-ca FILE, a file"
        " with the certificates to trust"
    )


HERE = DataDir(Path("logstore-data"))


def _parse_data(text: str | DataDir) -> DataDir:
    return text if isinstance(text, DataDir) else DataDir(Path(text))


def _nearest(ctx: typer.Context, param: typer.CallbackParam, value: DataDir) -> DataDir:
    source = ctx.get_parameter_source(param.name or "")
    if source is not None and source.name == "COMMANDLINE":
        ctx.meta[_DATA] = value
    found: DataDir = ctx.meta.get(_DATA, value)
    return replace(found, config_file=ctx.meta.get(_CONFIG_FILE), login=login_of(ctx))


def _cluster_or_nearest(ctx: typer.Context, param: typer.CallbackParam, value: DataDir) -> Where:
    directory = _nearest(ctx, param, value)
    bootstrap = ctx.meta.get(_BOOTSTRAP)
    if bootstrap is None:
        if directory.login is not None and directory.login.asked and directory.login.user:
            raise wrong("a login needs a server: use --bootstrap HOST:PORT", "--user")
        return directory
    if _DATA in ctx.meta:
        raise typer.BadParameter("use --data or --bootstrap, not both")
    return ClusterAt(bootstrap, directory.login)


def _remember_bootstrap(ctx: typer.Context, value: str | None) -> str | None:
    if value is not None:
        from logstore.errors import Refused

        from .cluster.address import Address

        try:
            Address(value).pairs()
        except Refused as error:
            raise typer.BadParameter(str(error)) from None
        ctx.meta[_BOOTSTRAP] = value
    return value


def _remember_config_file(ctx: typer.Context, value: Path | None) -> Path | None:
    ctx.meta[_CONFIG_FILE] = value
    return value


Data = Annotated[
    DataDir,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="LOGSTORE_DATA",
        parser=_parse_data,
        callback=_nearest,
        help="The data directory.",
    ),
]
At = Annotated[
    Where,
    typer.Option(
        "--data",
        metavar="DIR",
        envvar="LOGSTORE_DATA",
        parser=_parse_data,
        callback=_cluster_or_nearest,
        help="The data directory.",
    ),
]
Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap",
        metavar="HOST:PORT",
        is_eager=True,  # --data's callback looks for it
        callback=_remember_bootstrap,
        help="The address of a Kafka cluster, or of a running `logstore serve`, to use instead of"
        " a data directory.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config-file",
        metavar="FILE",
        envvar="LOGSTORE_CONFIG",
        exists=True,
        dir_okay=False,
        is_eager=True,  # --data's callback looks for it
        callback=_remember_config_file,
        help="The configuration file; defaults to DIR/logstore.toml if that exists.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="NAME=VALUE",
        help="A topic setting, such as retention.ms=7d or segment.bytes=64MiB; may be repeated.",
    ),
]
OnDamageOption = Annotated[
    str,
    typer.Option(
        "--on-damage",
        metavar="stop|skip",
        help="The action for a batch that cannot be read: stop reading its partition and exit"
        " with 1, or name the batch on standard error and continue with the next batch.",
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="The form in which a record is printed: raw (its value), json (read by produce"
        " --format record), hex, csv (csv:key,value chooses the columns), or a template such as"
        " '{partition} {offset} {key} {value}'; fields: topic partition offset timestamp"
        " timestamp_ms key value headers.",
    ),
]


def place_of(text: str, profile: Path | None = None) -> DataDir | ClusterAt:
    """A server for ``HOST:PORT``, unless a file has that name; otherwise a data directory.

    ``profile``: the login at a server. An invalid profile is a usage error.
    """
    from .login_options import login_from, read_profile

    login = None if profile is None else login_from(read_profile(profile))
    host, colon, port = text.rpartition(":")
    if host and colon and port.isascii() and port.isdigit() and not Path(text).exists():
        return ClusterAt(text, login)
    return DataDir(Path(text), login=login)


def pairs(texts: Sequence[str] | None, option: str) -> Mapping[str, str]:
    """``["a=1", "b=2"]`` as a mapping. Text without ``=`` or a repeated name is a usage error."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint=f"'{option}'")
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice", param_hint=f"'{option}'")
        found[name] = value
    return found


def topic_settings(texts: Sequence[str] | None) -> dict[str, str]:
    """The settings of --config, with sizes in bytes and durations in ms. Raises InvalidSetting."""
    from logstore.config import plain_topic_settings

    return plain_topic_settings(pairs(texts, "--config"))


def moment_option(text: str | None, option: str) -> int | None:
    """A time in milliseconds. Other text is a usage error."""
    from .times import moment_ms

    if text is None:
        return None
    try:
        moment = moment_ms(text, now_ms())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from None
    _warn_if_early(text, moment, option)
    return moment


def _warn_if_early(text: str, moment_ms: int, option: str) -> None:
    from .times import early

    if (warning := early(text, moment_ms)) is not None:
        say(f"logstore: warning: {option}: {warning}")


def place_option(text: str, option: str, *, offsets: bool = True) -> "Start":
    """``earliest``, ``latest``, a time or, with ``offsets``, an offset; other text is a usage
    error.
    """
    from .place import place
    from .times import EPOCH, MILLISECOND

    try:
        found = place(text, now_ms(), offsets=offsets)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from None
    if isinstance(found, datetime):
        _warn_if_early(text, (found - EPOCH) // MILLISECOND, option)
    return found


def damage_option(text: str) -> "OnDamage":
    """The handling of damaged batches: stop or skip. Another word is a usage error."""
    if text == "skip":
        return lambda damage: say(f"logstore: skipped: {damage}")
    if text != "stop":
        raise typer.BadParameter(f"{text!r} is neither stop nor skip", param_hint="'--on-damage'")
    return "stop"


def format_option(text: str) -> "Lines":
    """The output format of records. An unknown format is a usage error."""
    from .printing import Lines

    try:
        return Lines(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--format'") from None


def now_ms() -> int:
    return time.time_ns() // 1_000_000
