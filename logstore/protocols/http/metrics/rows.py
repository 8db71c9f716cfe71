"""A row of the tables of metrics: a family, the source of its samples, and where it is shown."""

from collections.abc import Collection
from typing import Final, NamedTuple

from logstore.protocols.http.metrics.exposition import Family
from logstore.protocols.http.metrics.scene import Samples

# Where a family is shown. A DETAILED family is shown only if its group is requested; other families
# are shown then, too, except sums.
EVERYWHERE: Final = "everywhere"
SUMMED: Final = "summed"  # where queues and the like are a sum
EACH: Final = "each"  # where they are shown each by itself
DETAILED: Final = "detailed"


class Row(NamedTuple):
    """One family of metrics."""

    family: Family
    samples: Samples
    groups: str = ""  # as /metrics/detailed?family= has them
    where: str = EVERYWHERE

    def is_of(self, asked: Collection[str]) -> bool:
        """Whether the family belongs to one of these groups and is not a sum."""
        return self.where != SUMMED and not set(asked).isdisjoint(self.groups.split())
