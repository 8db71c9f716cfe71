"""Groups, seen from the loop."""

from logstore.aio.faces import awaited
from logstore.aio.ground import Ground
from logstore.aio.workers import Workers
from logstore.broker.group import Group as Behind


class Group:
    """``logstore.Group`` for asyncio."""

    def __init__(self, group: Behind, ground: Ground) -> None:
        self._group = group
        self._ground = ground

    @property
    def name(self) -> str:
        return self._group.name

    @property
    def behind(self) -> Behind:
        """As Face.behind."""
        self._ground.checked()
        return self._group

    @property
    def workers(self) -> Workers:
        """As Face.workers."""
        return self._ground.workers

    @property
    def slow(self) -> Workers:
        """As Face.slow."""
        return self._ground.slow

    members = awaited(Behind.members)
    topics = awaited(Behind.topics)
    describe = awaited(Behind.describe)
    reset = awaited(Behind.reset)
    delete = awaited(Behind.delete)
