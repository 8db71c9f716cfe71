"""The deadlines of groups: the earliest is known, and earlier ones take no memory."""

from logstore.broker.coordinator.timetable import Timetable


def test_a_group_whose_time_moves_on_and_on_takes_no_more_memory():
    """A member that commits thousands of times within its session's time does that."""
    told = []
    timetable = Timetable(told.append)
    timetable.put("other", 500_000)
    for at_ms in range(1000, 101_000):
        timetable.put("g", at_ms)
    assert len(timetable._heap) < 100
    assert told == [500_000, 1000]  # a time may be too early, never too late
    assert (timetable.first_ms(), timetable.take()) == (100_999, "g")
    assert (timetable.first_ms(), timetable.take()) == (500_000, "other")
    assert timetable.first_ms() is None
