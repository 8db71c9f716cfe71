"""What RabbitMQ's API says of what was counted: numbers, rates, since when nothing happens."""

import pytest
from rabbit_api import new_api

from logstore.figures.figures import Figures, Seen
from logstore.protocols.http.common.meter import LOOK_S, Meter

STEP_S = 10


class Stopwatch:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    lives, api = new_api(tmp_path_factory.mktemp("rabbit"))
    yield api
    lives.end()


@pytest.fixture
def watch():
    return Stopwatch()


@pytest.fixture
def api(life, watch):
    figures = Figures(watch, lambda: int(watch.now * 1000))
    figures.queues = life.node.queues.totals
    figures.sources["queue"] = lambda: [
        Seen(it.id, (it.counts.published, it.counts.given_out, it.counts.acked, it.ready, it.out))
        for it in life.node.vhost.queues()
    ]
    life.more |= {"figures": figures, "stopwatch": watch, "meter": Meter()}
    yield life
    life.node.empty()


def pass_step(api, watch):
    for _ in api.more["figures"].look():
        pass
    watch.now += STEP_S


def test_a_queue_says_what_keda_scales_by(api, watch):
    api.node.declare(b"q")
    pass_step(api, watch)
    api.node.publish(b"q", *[b"x"] * 50)
    for _ in range(20):
        api.node.get(b"q")
    pass_step(api, watch)
    answer = api.get("queues/%2F?page=1&use_regex=true&pagination=false&name=%5Eq$&page_size=100")
    assert answer["page_count"] == 1
    [found] = answer["items"]
    stats = found["message_stats"]
    assert (stats["publish"], stats["deliver_get"], stats["get_no_ack"]) == (50, 20, 20)
    assert stats["publish_details"] == {"rate": 5.0}
    assert stats["deliver_get_details"] == stats["get_no_ack_details"] == {"rate": 2.0}
    assert stats["deliver_details"] == stats["ack_details"] == {"rate": 0.0}
    assert found["messages"] == 30


def test_queues_are_sorted_by_what_goes_through_them(api, watch):
    for name in (b"quiet", b"busy"):
        api.node.declare(name)
    pass_step(api, watch)
    api.node.publish(b"busy", b"x")
    pass_step(api, watch)
    for descending, first in (("true", "busy"), ("false", "quiet")):
        by = f"sort=message_stats.publish_details.rate&sort_reverse={descending}"
        assert api.get(f"queues?page=1&{by}")["items"][0]["name"] == first


def test_a_queue_says_since_when_it_is_idle(api, watch):
    api.node.declare(b"q")
    assert "idle_since" not in api.get("queues/%2F/q")  # nobody has looked at it yet
    pass_step(api, watch)
    api.node.publish(b"q", b"x")
    pass_step(api, watch)
    assert "idle_since" not in api.get("queues/%2F/q")
    pass_step(api, watch)
    since = api.get("queues/%2F/q")["idle_since"]
    assert since == "1970-01-01T00:16:50.000+00:00"
    pass_step(api, watch)
    assert api.get("queues/%2F/q")["idle_since"] == since


def test_the_overview_says_what_came_and_went_for_whoever_sees_all(api, watch):
    message = {"properties": {}, "routing_key": "q", "payload": "", "payload_encoding": "string"}
    before = api.get("overview")["message_stats"]
    api.node.declare(b"q")
    for key in ("q", "q", "nowhere"):
        api.post("exchanges/%2F/amq.default/publish", message | {"routing_key": key})
    watch.now += 10
    after = api.get("overview")
    stats = after["message_stats"]
    assert stats["publish"] - before["publish"] == 3
    assert stats["drop_unroutable"] - before["drop_unroutable"] == 1
    assert stats["publish_details"] == {"rate": 0.3}
    assert after["churn_rates"]["queue_created"] > 0
    api.users.add("al", "management")
    own = api.get("overview", user="al")
    assert (own["message_stats"], own["churn_rates"]) == ({}, {})
    assert "listeners" not in own


def test_rates_are_those_since_they_were_asked_for_last():
    meter = Meter()
    assert meter.rates("a", 100.0, {"x": 10}) == {"x": 0.0}
    assert meter.rates("a", 100.0 + LOOK_S / 2, {"x": 1000}) == {"x": 0.0}  # too soon to say
    assert meter.rates("a", 110.0, {"x": 30}) == {"x": 2.0}
    assert meter.rates("a", 111.0, {"x": 99}) == {"x": 2.0}
    assert meter.rates("b", 111.0, {"x": 5}) == {"x": 0.0}  # another one of this name
    assert meter.rates("a", 120.0, {"x": 30, "new": 7}) == {"x": 0.0, "new": 0.0}
