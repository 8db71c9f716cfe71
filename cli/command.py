"""What a command is here: options given once, help under headings, examples as they are typed."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from typer.core import TyperCommand, TyperGroup

from .usage import UsageError

# The headings of a command's help, in this order.
INPUT: Final = "Input"  # the records to read: which, from where, to where
SETTINGS: Final = "Settings"  # of the object that is created or changed
OUTPUT: Final = "Output"  # what becomes of it, and how it looks
CONNECTION: Final = "Connection"  # where the topics are
COMMON: Final = "Common"  # the command's behaviour and messages
HEADINGS: Final = (INPUT, SETTINGS, OUTPUT, CONNECTION, COMMON)
# By option; a command that uses an option differently sets rich_help_panel.
HEADING_OF: Final = {
    name: heading
    for heading, names in {
        INPUT: (
            "--key-field --timestamp-field --value-field --header --header-field --key --from --to "
            "--topic --group --share --partition --before --max --follow --records --from-stdin "
            "--speed --database --type --open --at"
        ),
        SETTINGS: "--partitions --config --delete-config --transient --auto-delete --internal",
        OUTPUT: (
            "--format --json --into --into-data --timestamps --compression --batch-bytes "
            "--dead-letter --out-of-range --state --ready --to-queue --to-exchange"
        ),
        CONNECTION: (
            "--data --bootstrap --config-file --server --host --insecure --from-profile "
            "--to-profile"
        ),
        COMMON: (
            "--on-error --on-damage --on-out-of-range --isolation --seal --dry-run --yes --repair "
            "--progress --if-unused --if-empty --requeue --reject --prefetch --limit "
            "--give-up-after --log-format --log-level --version --help"
        ),
    }.items()
    for name in names.split()
}
EXAMPLE: Final = "$ "  # begins a line of a docstring that is an example


class Command(TyperCommand):
    """A command. Lines of its docstring that begin with ``$`` are shown as examples."""

    def __init__(self, name: str | None, **facts: Any) -> None:  # noqa: ANN401  typer's own
        super().__init__(name, **facts)
        lines = (self.help or "").splitlines()
        self.examples = [it.strip()[len(EXAMPLE) :] for it in lines if _is_example(it)]
        self.help = "\n".join(it for it in lines if not _is_example(it)).rstrip()

    def make_parser(self, ctx: Any) -> Any:  # noqa: ANN401
        return _once(ctx, super().make_parser(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        _write_parameters(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:  # never wrapped: they are to be copied
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(TyperGroup):
    """A command that has commands."""

    def make_parser(self, ctx: Any) -> Any:  # noqa: ANN401
        return _once(ctx, super().make_parser(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        _write_parameters(self.get_params(ctx), ctx, formatter)
        self.format_commands(ctx, formatter)


def _is_example(line: str) -> bool:
    return line.lstrip().startswith(EXAMPLE)


def _once(ctx: Any, parser: Any) -> Any:  # noqa: ANN401
    """The parser, for which a repeated single-value option is a usage error.

    By default it would silently use the last value and ignore the first.
    """
    parse = parser.parse_args

    def parse_args(args: list[str]) -> tuple[dict[str, Any], list[str], list[Any]]:
        try:
            values, rest, order = parse(args)
        except UsageError as error:
            error.ctx = error.ctx or ctx  # otherwise it refers to the help of `logstore`
            raise
        repeated = _repeated(order)
        if repeated is not None and not ctx.resilient_parsing:
            ctx.fail(f"{'/'.join(repeated.opts)} is given twice, and takes one value")
        return values, rest, order

    parser.parse_args = parse_args
    return parser


def _repeated(order: Sequence[Any]) -> Any | None:  # noqa: ANN401
    seen = set()
    for parameter in order:
        if parameter.param_type_name == "option" and not parameter.multiple:
            if parameter.name == "help":  # may be repeated
                continue
            if parameter.name in seen:
                return parameter
            seen.add(parameter.name)
    return None


def heading_of(option: Any) -> str:  # noqa: ANN401
    """The heading in a command's help for an option."""
    return str(option.rich_help_panel or HEADING_OF.get(option.opts[0], COMMON))


def _write_parameters(parameters: Iterable[Any], ctx: Any, formatter: Any) -> None:  # noqa: ANN401
    rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{it: [] for it in HEADINGS}}
    for parameter in parameters:
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        if parameter.param_type_name == "argument":
            rows["Arguments"].append(record)
        else:
            rows[heading_of(parameter)].append(record)
    for heading, records in rows.items():
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)
