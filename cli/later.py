"""Commands of commands, made when one of them is named: a server needs none of them."""

from collections.abc import Callable, Mapping
from typing import Any

import typer

from .command import Group

Load = Callable[[], typer.Typer]
_Facts = Mapping[str, tuple[Load, str | None]]  # by name; without a help they say it themselves


def with_groups(facts: _Facts) -> type[Group]:
    """The class of the root command, with these groups and those that are added to it."""

    class Root(Group):
        def __init__(self, **own: Any) -> None:  # noqa: ANN401  typer's own
            super().__init__(**own)
            self.commands = _Commands(self.commands, facts)

    return Root


class _Commands(dict[str, Any]):
    """By name."""

    def __init__(self, made: Mapping[str, Any], later: _Facts) -> None:
        super().__init__(made)
        self.update(dict.fromkeys(later))
        self._later = dict(later)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401  typer's own
        found = self._later.pop(name, None)
        if found is not None:
            load, help_ = found
            tree = typer.Typer()
            facts = {} if help_ is None else {"help": help_}
            tree.add_typer(load(), name=name, **facts)  # type: ignore[arg-type]
            self[name] = typer.main.get_group(tree).commands[name]
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401
        return self[name] if name in self else default  # noqa: SIM401  it is what is made here

    def items(self) -> Any:  # noqa: ANN401
        return [(name, self[name]) for name in self]

    def values(self) -> Any:  # noqa: ANN401
        return [self[name] for name in self]
