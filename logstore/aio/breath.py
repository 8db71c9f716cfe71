"""That others have the loop now and then, beside a task that always finds something to do."""

import asyncio
from typing import Final

IN_A_ROW: Final = 100  # things that one task is given without waiting


class Breath:
    """Of one thing that is read on."""

    __slots__ = ("_given",)

    def __init__(self) -> None:
        self._given = 0

    async def taken(self) -> None:
        """Before the next one is."""
        self._given += 1
        if self._given >= IN_A_ROW:
            self._given = 0
            await asyncio.sleep(0)
