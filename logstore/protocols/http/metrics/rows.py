"""A row of the tables of metrics: a family, where its samples come from, where it is shown."""

from collections.abc import Collection
from typing import Final, NamedTuple

from logstore.protocols.http.metrics.exposition import Family
from logstore.protocols.http.metrics.scene import Samples

# Where a family is shown. What is DETAILED is shown to who asks for its group, and so is all but
# what is a sum.
EVERYWHERE: Final = "everywhere"
SUMMED: Final = "summed"  # where queues and the like are a sum
EACH: Final = "each"  # where they are shown each by itself
DETAILED: Final = "detailed"


class Row(NamedTuple):
    """One family."""

    family: Family
    samples: Samples
    groups: str = ""  # as /metrics/detailed?family= has them
    where: str = EVERYWHERE

    def is_of(self, asked: Collection[str]) -> bool:
        """Whether it is of one of these groups, and no sum."""
        return self.where != SUMMED and not set(asked).isdisjoint(self.groups.split())
