"""What kio says of our messages: another codec, made from Kafka's own definitions."""

import dataclasses
import importlib
import io
import pkgutil
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from kio.serial import entity_reader, entity_writer

from logstore.kafka import messages
from logstore.kafka.schema import _WIRE

NAMES = sorted(it.name for it in pkgutil.iter_modules(messages.__path__))
LARGEST = 2**31 - 1


def ours(name):
    return importlib.import_module(f"logstore.kafka.messages.{name}")


def versions(name):
    """The versions in the first line of the module's docstring."""
    words = ours(name).__doc__.split("\n")[0].rstrip(".").replace(",", "").split()
    return range(int(words[-3]), int(words[-1]) + 1)


def theirs(name, version, kind):
    module = importlib.import_module(f"kio.schema.{name}.v{version}.{kind}")
    for found in vars(module).values():
        if getattr(found, "__module__", "") == module.__name__ and found.__type__.name == kind:
            return found
    raise LookupError(name)


def header(name, version, kind):
    """(key, whether flexible, version of the header)."""
    entity = theirs(name, version, kind)
    return int(entity.__api_key__), entity.__flexible__, int(entity.__header_schema__.__version__)


def written_by_kio(entity):
    out = io.BytesIO()
    entity_writer(type(entity))(out, entity)
    return out.getvalue()


def read_by_kio(name, version, kind, data):
    entity, size = entity_reader(theirs(name, version, kind))(data, 0)
    assert size == len(data)
    return entity


def plain(value, like):
    """kio's entity as nested plain values, in the form of ``as_plain``."""
    if dataclasses.is_dataclass(value):
        found = {}
        for field in dataclasses.fields(value):
            kind = field.metadata.get("kafka_type", "")
            name = field.name + ("_ms" if kind in TIMES else "")
            found[name] = plain(getattr(value, field.name), kind)
        return found
    if isinstance(value, tuple):
        return [plain(it, like) for it in value]
    if like == "uuid":
        return bytes(16) if value is None else value.bytes
    if like == "datetime_i64" and value is None:
        return -1
    if isinstance(value, timedelta):
        return round(value.total_seconds() * 1000)
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return value.bytes
    return value


TIMES = ("timedelta_i32", "timedelta_i64", "datetime_i64")


def as_plain(message, version):
    """Our message as plain values, without fields that the version lacks."""
    found = {}
    for field in dataclasses.fields(message):
        facts = field.metadata[_WIRE]
        if facts.since <= version <= facts.until:
            found[field.name] = _as_plain(getattr(message, field.name), version)
    return found


def _as_plain(value, version):
    if dataclasses.is_dataclass(value):
        return as_plain(value, version)
    if isinstance(value, list | tuple):
        return [_as_plain(it, version) for it in value]
    return value


def random_message(kind, version, rng, depth=0):
    """A message with any values of this version; fields that it lacks have defaults."""
    values = {}
    for field in dataclasses.fields(kind):
        facts = field.metadata[_WIRE]
        if facts.since <= version <= facts.until:
            values[field.name] = _random(field, facts, version, rng, depth)
    return kind(**values)


def _random(field, facts, version, rng, depth):
    nullable = version >= facts.nullable_since
    if nullable and rng.random() < 0.3:
        return None
    if facts.repeated:
        return [_one(field, facts, version, rng, depth) for _ in range(rng.randrange(3))]
    return _one(field, facts, version, rng, depth)


def _one(field, facts, version, rng, depth):
    if facts.of is not None:
        return random_message(facts.of, version, rng, depth + 1)
    layout = PRIMITIVES[facts.primitive]
    if field.name.startswith("error_code") or field.name.endswith("error_code"):
        return rng.choice([0, 3, 6, 35, 87, 100])
    return layout(rng)


def _primitives():
    from logstore.kafka import schema

    by_declaration = {
        schema.boolean: lambda rng: rng.random() < 0.5,
        schema.int8: lambda rng: rng.randrange(-128, 128),
        schema.int16: lambda rng: rng.randrange(-(2**15), 2**15),
        schema.uint16: lambda rng: rng.randrange(2**16),
        schema.int32: lambda rng: rng.choice([0, -1, 7, LARGEST, rng.randrange(LARGEST)]),
        schema.int64: lambda rng: rng.choice([0, -1, 7, 10**12, rng.randrange(2**43)]),
        schema.float64: lambda rng: rng.random(),
        schema.uuid: lambda rng: rng.choice([bytes(16), rng.randbytes(16)]),
        schema.string: lambda rng: rng.choice(["", "topic", "Größe", "x" * 200]),
        schema.blob: lambda rng: rng.choice([b"", b"\0\1", rng.randbytes(300)]),
    }
    return {schema._PRIMITIVES[it]: make for it, make in by_declaration.items()}


PRIMITIVES = _primitives()


def module_of(name, version, kind):
    return importlib.import_module(f"kio.schema.{name}.v{version}.{kind}")


def milliseconds(count):
    return timedelta(milliseconds=count)


fields = dataclasses.fields
