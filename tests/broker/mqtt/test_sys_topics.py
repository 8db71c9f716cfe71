"""What the server tells of itself to MQTT clients."""

from logstore.broker.mqtt.sys_topics import EVERY_MS, Seen, SysTopics


class Server:
    def __init__(self):
        self.now_ms = 0
        self.seen = Seen("9.9", 5, 1, 3)
        self.it = SysTopics(lambda: self.seen, lambda: self.now_ms)

    def all(self, filter_=b"$SYS/#"):
        cursor, found = self.it.cursor(filter_), {}
        assert cursor.ready(lambda: None)
        while not cursor.over:
            portion = cursor.some()
            assert set(portion.qos) <= {0}
            assert set(portion.abouts) <= {None}
            found.update(zip(portion.topics, portion.payloads, strict=True))
        return found


def test_who_subscribes_gets_all_that_his_filter_matches_at_once():
    it = Server()
    found = it.all()
    assert found[b"$SYS/broker/version"] == b"logstore version 9.9"
    assert found[b"$SYS/broker/uptime"] == b"5 seconds"
    assert found[b"$SYS/broker/clients/connected"] == b"1"
    assert found[b"$SYS/broker/clients/disconnected"] == b"2"
    assert found[b"$SYS/broker/retained messages/count"] == b"0"
    assert it.all(b"$SYS/broker/clients/total") == {b"$SYS/broker/clients/total": b"3"}
    assert it.all(b"$SYS/+/uptime") == {b"$SYS/broker/uptime": b"5 seconds"}
    assert it.all(b"$SYS/other") == {}


def test_what_has_changed_is_published_and_nothing_else():
    it = Server()
    first = it.it.tick()
    assert {it.retain for it in first} == {True}
    assert {it.topic for it in first} == set(it.all())
    it.now_ms += EVERY_MS
    it.seen = it.seen._replace(uptime_s=15, connected=2)
    changed = {message.topic: message.payload for message in it.it.tick()}
    assert changed.pop(b"$SYS/broker/clients/connected") == b"2"
    assert changed.pop(b"$SYS/broker/uptime") == b"15 seconds"
    assert changed.pop(b"$SYS/broker/clients/maximum") == b"2"
    changed = {topic for topic in changed if b"/load/" not in topic}
    assert changed == {b"$SYS/broker/clients/" + it for it in
                       (b"active", b"disconnected", b"inactive")}  # fmt: skip


def test_the_most_clients_at_once_are_remembered():
    it = Server()
    for connected in (1, 7, 2):
        it.seen = it.seen._replace(connected=connected)
        it.it.tick()
    assert it.all()[b"$SYS/broker/clients/maximum"] == b"7"


def test_loads_are_averages_per_minute_that_decay():
    it = Server()
    it.it.tick()
    for n in range(1, 61):  # ten minutes at one message a second
        it.now_ms += EVERY_MS
        it.seen = it.seen._replace(publish_received=10 * n)
        it.it.tick()
    found = it.all(b"$SYS/broker/load/publish/received/+")
    one, five, fifteen = (
        float(found[b"$SYS/broker/load/publish/received/%dmin" % it]) for it in (1, 5, 15)
    )
    assert 59.9 < one <= 60
    assert 51 < five < 53
    assert 29 < fifteen < 30
    it.now_ms += 60_000
    it.it.tick()
    found = it.all(b"$SYS/broker/load/publish/received/1min")
    assert 22 < float(found.popitem()[1]) < 22.1  # 60 / e


def test_a_figure_that_is_ten_seconds_old_is_looked_at_anew():
    it = Server()
    it.all()
    it.seen = it.seen._replace(retained=4)
    assert it.all()[b"$SYS/broker/retained messages/count"] == b"0"
    it.now_ms += EVERY_MS
    assert it.all()[b"$SYS/broker/retained messages/count"] == b"4"
    # Who listens is told, too, though somebody else has looked first.
    assert b"$SYS/broker/retained messages/count" in {message.topic for message in it.it.tick()}
