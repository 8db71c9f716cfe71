"""Opens the Redis door."""

import math
from typing import TYPE_CHECKING, Final

from logstore.access.refusals import Refusals
from logstore.errors import LogstoreError
from logstore.figures.figures import Figures
from logstore.protocols.house import House
from logstore.protocols.resp import door as resp
from logstore.protocols.session import Doorway, Limits, Link, Session

if TYPE_CHECKING:
    from logstore.broker.keys.journal import Journal
    from logstore.protocols.resp.client import RespClient

NAME: Final = "resp"


def open(house: House) -> Doorway:
    """Open the Redis door. CONFIG SET may change its limits while it serves."""
    settings = house.settings
    # A subscriber may be silent for ever.
    crowd = Limits(settings.resp_maxclients, math.inf, "resp.maxclients", resp.TOO_MANY)
    unread = resp.Unread.parse(settings.resp_client_output_buffer_limit)
    assert unread is not None, "the setting's pattern lets nothing else through"
    door = resp.RespDoor(
        house.channels,
        resp.RespLimits(
            crowd, settings.resp_proto_max_bulk_len, settings.resp_max_value_size, unread
        ),
        resp.Facts(house.process_id, house.store_id, house.path, house.turns),
        house.clock,
        house.work,
        house.keys_of.open,
        house.slices,
        house.budget,
        house.access,
        house.logins,
        Refusals(house.stopwatch, house.audit),
        house.audit,
        house.keep_settings,
        protected=not settings.listen_insecure,
        totals=house.figures.door(NAME),
        flow=lambda: _flow(house.figures),
    )

    if settings.resp_notify_keyspace_events:
        door.onlookers.notices.ask(settings.resp_notify_keyspace_events)
        door.onlookers.look()
    everyone: dict[int, RespClient] = {}

    def lost(journal: "Journal", turn: int, error: LogstoreError) -> None:
        text = f"Errors writing to the AOF file: {error}".encode()
        for client in everyone.values():
            client.lose((journal, turn), text)

    house.access.watch(lambda: _changed(door, everyone))

    def new_session(link: Link) -> Session:
        from logstore.protocols.resp.session import RespSession  # a server may have no client

        if door.keys.lost is not lost:
            door.keys.lost = lost
        return RespSession(door, everyone, link)

    return Doorway(
        new_session, crowd, NAME, door.totals, lambda session: session.about(),
        prompt=lambda session, data, now: session.prompt(data, now),
    )  # fmt: skip


def _flow(figures: Figures) -> resp.Flow:
    found = figures.doors()[NAME]
    return resp.Flow(found.bytes_out, found.refused)


def _changed(door: resp.RespDoor, everyone: "dict[int, RespClient]") -> None:
    """Apply changed users or rules to all clients."""
    if everyone:
        from logstore.protocols.resp.review import review

        review(door, everyone)
