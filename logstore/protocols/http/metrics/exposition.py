"""Families of metrics as text: OpenMetrics 1.0, or Prometheus's earlier format (0.0.4).

Pure. The text is made in parts, so that a scrape of many objects is neither one long piece of work
nor one large text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from math import inf, isnan
from typing import Final, NamedTuple

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
INFO: Final = "info"  # labels that are facts; the value is always 1
TYPES: Final = (COUNTER, GAUGE, HISTOGRAM, INFO)
# What a family's samples are called behind its name, and what no other family may be called.
SUFFIXES: Final = {
    COUNTER: ("_total",),
    GAUGE: ("",),
    HISTOGRAM: ("_bucket", "_sum", "_count"),
    INFO: ("_info",),
}
UNITS: Final = ("seconds", "bytes")  # the base units that names end in

LINES_MAX: Final = 200  # of a part: 0.3 ms of work
SHORTEST_EXPONENT: Final = 6  # from 1e+06 on; OpenMetrics, "Considerations: Canonical Numbers"
SMALLEST_EXPONENT: Final = -4


class Form(NamedTuple):
    """One of the two formats."""

    content_type: str
    is_open: bool  # OpenMetrics


TEXT: Final = Form("text/plain; version=0.0.4; charset=utf-8", False)
OPEN: Final = Form("application/openmetrics-text; version=1.0.0; charset=utf-8", True)


class Buckets(NamedTuple):
    """The value of a histogram: ``counts`` has one more element than ``bounds``, for the rest."""

    bounds: Sequence[str]  # as ``bound`` writes them, rising
    counts: Sequence[int]  # of each bucket alone
    sum: float  # of all that was observed


Value = int | float | Buckets
# Labels as ``labels`` writes them, and a value; many of these, of whole numbers; None: so much was
# done that others may go on.
Sample = tuple[str, Value] | list[tuple[str, int]] | None


class Family(NamedTuple):
    """The name, type and help that a family's samples share."""

    name: str  # without what SUFFIXES has
    type: str
    help: str  # one plain sentence

    @property
    def unit(self) -> str:
        """The base unit that the name ends in; "" without one."""
        last = self.name.rpartition("_")[2]
        return last if last in UNITS and self.type != INFO else ""


def accepted(accept: str) -> Form:
    """The form for a request with this header: OpenMetrics for those who name it."""
    return OPEN if "application/openmetrics-text" in accept.lower() else TEXT


def labels(given: Mapping[str, str | bytes]) -> str:
    """``vhost="/",queue="mail"``.

    Of a name that is no UTF-8 there is a second label with its bytes in hexadecimal, so that no two
    names become the same.
    """
    return ",".join(_label(name, value) for name, value in given.items())


def _label(name: str, value: str | bytes) -> str:
    if isinstance(value, str):
        if not _is_half(value):
            return f'{name}="{_escaped(value)}"'
        value = value.encode("utf-8", "surrogatepass")
    try:
        return f'{name}="{_escaped(value.decode())}"'
    except UnicodeDecodeError:
        return f'{name}="{_escaped(value.decode(errors="replace"))}",{name}_bytes="{value.hex()}"'


def _is_half(text: str) -> bool:
    """Whether it has half of a pair in it, which is no text in UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def bound(value: float) -> str:
    """The upper end of a bucket, written as every other implementation does: it is a label."""
    if value == inf:
        return "+Inf"
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int), "a bound is a number"
    power = exponent + len(digits) - 1
    if SMALLEST_EXPONENT <= power < SHORTEST_EXPONENT or not value:
        return repr(float(value))
    text = "".join(map(str, digits))
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{'-' * sign}{text[0]}{fraction}e{power:+03d}"


def written(families: Iterable[tuple[Family, Iterable[Sample]]], form: Form) -> Iterator[bytes]:
    """The text, in parts; an empty part is work that was done and has brought no text yet.

    A family without samples is left out.
    """
    lines: list[str] = []
    for family, samples in families:
        head = _head(family, form)
        suffix = "" if family.type == HISTOGRAM else SUFFIXES[family.type][0]
        name = family.name + suffix
        for sample in samples:
            if sample is None:
                yield "".join(lines).encode()
                lines.clear()
                continue
            if head:
                lines.append(head)
                head = ""
            if isinstance(sample, list):
                lines += [f"{name}{{{given}}} {value}\n" for given, value in sample]
            else:
                lines += _lines(name, *sample)
            if len(lines) >= LINES_MAX:
                yield "".join(lines).encode()
                lines.clear()
    if form.is_open:
        lines.append("# EOF\n")
    yield "".join(lines).encode()


def _lines(name: str, given: str, value: Value) -> Iterable[str]:
    if isinstance(value, Buckets):
        return _histogram(name, given, value)
    return (f"{name}{{{given}}} {_number(value)}\n" if given else f"{name} {_number(value)}\n",)


def _head(family: Family, form: Form) -> str:
    name, kind = family.name, family.type
    if not form.is_open:
        if kind in (COUNTER, INFO):  # here these endings belong to the name
            name += SUFFIXES[kind][0]
        return f"# HELP {name} {family.help}\n# TYPE {name} {GAUGE if kind == INFO else kind}\n"
    unit = f"# UNIT {name} {family.unit}\n" if family.unit else ""
    return f"# HELP {name} {family.help}\n# TYPE {name} {kind}\n{unit}"


def _histogram(name: str, given: str, value: Buckets) -> Iterator[str]:
    assert len(value.counts) == len(value.bounds) + 1, "the last bucket has no upper end"
    before = f"{given}," if given else ""
    count = 0
    for upto, here in zip((*value.bounds, "+Inf"), value.counts, strict=True):
        count += here
        yield f'{name}_bucket{{{before}le="{upto}"}} {count}\n'
    braces = f"{{{given}}}" if given else ""
    yield f"{name}_sum{braces} {_number(value.sum)}\n"
    yield f"{name}_count{braces} {count}\n"


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(int(value))  # a bool, too
    if isnan(value):
        return "NaN"
    if value in (inf, -inf):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
