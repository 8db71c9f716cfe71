"""Yields to other tasks from time to time, in a task that always finds something to do."""

import asyncio
from typing import Final

IN_A_ROW: Final = 100  # things that one task is given without waiting


class Breath:
    """The pauses of one reader: a consumer or a listener."""

    __slots__ = ("_given",)

    def __init__(self) -> None:
        self._given = 0

    async def taken(self) -> None:
        """Awaited before each returned item, to let other tasks run regularly."""
        self._given += 1
        if self._given >= IN_A_ROW:
            self._given = 0
            await asyncio.sleep(0)
