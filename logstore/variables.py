"""Which environment variables are settings, and which belong to other programs."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

PREFIX = "LOGSTORE_"
CLUSTER_PASSWORD = "LOGSTORE_CLUSTER_SASL_PASSWORD"  # no setting: these are shown
# Read before any configuration is, to find it; not settings themselves.
RESERVED = frozenset(
    {
        "LOGSTORE_DATA", "LOGSTORE_CONFIG", "LOGSTORE_PROFILE",
        # What `logstore serve` makes its first user of.
        "LOGSTORE_ADMIN_USER", "LOGSTORE_ADMIN_PASSWORD_FILE", CLUSTER_PASSWORD,
    }
)  # fmt: skip
# LOGSTORE_KAFKA_PORT_FILE names a file with the value of LOGSTORE_KAFKA_PORT, as in the images of
# other servers: orchestrators hand out secrets as files.
IN_FILE = "_FILE"

# Kubernetes (and Docker's links) put these into every container beside a Service called
# ``logstore`` or ``logstore-NAME``: LOGSTORE_PORT=tcp://10.96.0.12:9092, LOGSTORE_SERVICE_HOST, ...
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_NAME = re.compile(
    r".*(_SERVICE_HOST|_SERVICE_PORT(_.*)?|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)",
    re.ASCII | re.DOTALL,
)
_SERVICE_VALUES = ("tcp://", "udp://", "sctp://")


class Found(NamedTuple):
    """The settings and unknown names found in an environment."""

    settings: dict[str, str]  # setting -> variable
    files: dict[str, str]  # setting -> variable that names the file with its value
    unknown: list[str]  # variables that begin with our prefix, and mean nothing


def variable(setting: str) -> str:
    """``files.open.max`` -> ``LOGSTORE_FILES_OPEN_MAX``."""
    return PREFIX + setting.replace(".", "_").upper()


def of_a_service(name: str, value: str) -> bool:
    """Whether it tells where a Service is, also under the name of a setting of ours."""
    return value.startswith(_SERVICE_VALUES) or _SERVICE_NAME.fullmatch(name) is not None


def find(environment: Mapping[str, str], settings: Iterable[str]) -> Found:
    """The settings that have a variable, and the variables that have no setting."""
    by_variable = {variable(setting): setting for setting in settings}
    found = Found({}, {}, [])
    for name, value in environment.items():
        if not name.startswith(PREFIX) or name in RESERVED or of_a_service(name, value):
            continue
        if name in by_variable:
            found.settings[by_variable[name]] = name
        elif name.endswith(IN_FILE) and name.removesuffix(IN_FILE) in by_variable:
            found.files[by_variable[name.removesuffix(IN_FILE)]] = name
        else:
            found.unknown.append(name)
    return found
