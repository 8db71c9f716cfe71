"""The door before its first client: what takes long to import is not imported in a turn."""

from types import SimpleNamespace

from logstore.protocols.first import FirstSession
from logstore.protocols.mqtt import doorway


def test_code_of_sessions_is_imported_by_a_worker():
    asked = []
    figures = SimpleNamespace(alarms={}, door=lambda name: None)
    house = SimpleNamespace(
        work=lambda work, then: asked.append(work),
        figures=figures,
        settings=SimpleNamespace(max_connections=10),
    )
    door = doorway.open(house)
    sessions = [door.new_session(SimpleNamespace(wake=lambda: None)) for _ in range(2)]
    assert [type(it) for it in sessions] == [FirstSession, FirstSession]
    assert asked == [doorway._load]
    assert figures.alarms["mqtt"]() == ""
    asked[0]()
