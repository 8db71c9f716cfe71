"""Groups for asyncio."""

from logstore.aio.faces import Face, awaited
from logstore.broker.group import Group as Behind


class Group(Face[Behind]):
    """``logstore.Group`` for asyncio."""

    @property
    def name(self) -> str:
        return self._behind.name

    members = awaited(Behind.members)
    topics = awaited(Behind.topics)
    describe = awaited(Behind.describe)
    reset = awaited(Behind.reset)
    delete = awaited(Behind.delete)
