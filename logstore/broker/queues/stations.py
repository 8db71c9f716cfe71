"""The table of the types of exchanges that have stations, and what makes these."""

from collections.abc import Mapping
from typing import Final

from logstore.broker.queues.station_home import StationMaker

# By the type's name. Each imports what it needs when the first is made.
MAKERS: Final[Mapping[str, StationMaker]] = {}
