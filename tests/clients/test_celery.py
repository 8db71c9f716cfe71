"""A whole Celery application: workers, retries, delays, results, events, remote control, canvas."""

import os
import signal
from contextlib import ExitStack

import pika
import pytest
from celery_parts import Shop
from own_venv import python_with
from serving import Serving
from waiting import until

pytestmark = pytest.mark.long

QUORUM = {
    "task_default_queue_type": "quorum",
    "task_default_exchange_type": "topic",
    "task_default_exchange": "shop",
    "task_default_routing_key": "work",
    "broker_transport_options": {"confirm_publish": True},
}


@pytest.fixture(params=["celery-5.7", "celery-5.5"])
def open_shop(request, tmp_path):
    """open_shop(server=None, **settings) -> the application and its broker."""
    more = {"python": python_with("celery-5.5")} if request.param == "celery-5.5" else {}
    with ExitStack() as stack:

        def run(server=None, **settings):
            if server is None:
                server = Serving(tmp_path / "data", resp_port=-1, amqp_port=0)
                stack.callback(check_end, server)
            shop = Shop(tmp_path / "shop", server.amqp, **more, **settings)
            stack.callback(shop.close)
            return shop

        yield run


def check_end(server):
    code, errors = server.stop()
    assert (code, errors) == (0, "")


def counts(shop, queue):
    """(messages ready, consumers) of a queue."""
    connection = pika.BlockingConnection(pika.ConnectionParameters(*shop.amqp))
    try:
        found = connection.channel().queue_declare(queue, passive=True).method
        return found.message_count, found.consumer_count
    finally:
        connection.close()


def test_tasks_results_and_errors_come_back(open_shop):
    shop = open_shop()
    shop.worker("-c", "2", pool="prefork")
    ask = shop.ask()
    assert ask("[it.get(T) for it in [add.delay(n, n) for n in range(50)]]") == [
        2 * n for n in range(50)
    ]
    assert ask("repr(breaks.delay('so').get(T, propagate=False))") == "ValueError('so')"
    assert ask("add.apply_async((1, 1), ignore_result=True).id")
    assert ask("told.apply_async(priority=4).get(T)['redelivered']") is False


def test_an_eta_beyond_the_prefetch_keeps_no_other_task_waiting(open_shop):
    """The worker holds tasks until their time, and asks for more messages: basic.qos, global."""
    shop = open_shop(worker_prefetch_multiplier=1)
    shop.worker("-c", "1", pool="prefork")
    ask = shop.ask()
    ask("[mark.apply_async(('later',), countdown=3600) and None for n in range(20)]")
    assert ask("add.delay(2, 3).get(T)") == 5
    held = ask("app.control.inspect(timeout=T, limit=1).scheduled()")
    assert [len(it) for it in held.values()] == [20]


def test_retries_with_a_countdown(open_shop):
    shop = open_shop()
    shop.worker()
    ask = shop.ask()
    assert ask("flaky.delay(4, countdown=0.01).get(T)") == 4


def test_native_delay_over_28_exchanges_and_as_many_queues(open_shop):
    shop = open_shop(**QUORUM)
    worker = shop.worker()
    ask = shop.ask()
    for n in range(28):
        assert counts(shop, f"celery_delayed_{n}") == (0, 0)
    began = "(kept.update(at=__import__('time').time()), "
    late = "told.apply_async(countdown=3).get(T), __import__('time').time() - kept['at'])[1:]"
    delivered, passed = ask(began + late)
    assert passed >= 2  # whole seconds are counted
    assert delivered["routing_key"].endswith("work")
    worker.said("Global QoS is disabled")


def test_no_retry_by_native_delay_is_lost(open_shop):
    """It is published with the dead letter's headers: it must not count as a cycle."""
    shop = open_shop(**QUORUM)
    shop.worker()
    ask = shop.ask()
    assert ask("flaky.delay(5, countdown=1).get(T)") == 5
    assert [it[1] for it in shop.notes("tried")] == list(range(6))


def test_a_task_of_the_highest_priority_is_first(open_shop):
    shop = open_shop(
        task_queue_max_priority=10, worker_prefetch_multiplier=1, task_default_priority=2,
        broker_transport_options={"confirm_publish": True},  # what is not synced waits its turn
    )  # fmt: skip
    shop.worker("-c", "1")
    ask = shop.ask()
    ask("late.delay('gate') and None")  # takes the whole prefetch: it is acknowledged at its end
    shop.noted("began", bool)
    for priority in (1, 9, None, 5, 9, 0):
        given = "" if priority is None else f", priority={priority}"
        ask(f"mark.apply_async(('order', {priority}){given}) and None")
    shop.let_go("gate")
    order = shop.noted("order", lambda found: len(found) == 6)
    assert order == [[9], [9], [5], [None], [1], [0]]


def test_a_late_task_of_a_killed_worker_goes_to_another(open_shop):
    shop = open_shop()
    first = shop.worker("-c", "1", pool="prefork", name="first")
    ask = shop.ask()
    ask("kept.update(it=late.delay('x'))")
    shop.noted("began", bool)
    first.kill()
    shop.worker("-c", "1", pool="prefork", name="second")
    shop.noted("began", lambda found: len(found) == 2)
    shop.let_go("x")
    assert ask("kept['it'].get(T)") == "x"
    assert [it[2] for it in shop.notes("began")] == [False, True]  # redelivered
    assert counts(shop, "celery") == (0, 1)


def test_a_late_task_of_a_killed_child_is_put_back(open_shop):
    shop = open_shop()
    shop.worker("-c", "1", pool="prefork")
    ask = shop.ask()
    ask("kept.update(it=late.delay('x'))")
    ((_, child, _),) = shop.noted("began", bool)
    os.kill(child, signal.SIGKILL)
    shop.noted("began", lambda found: len(found) == 2)
    shop.let_go("x")
    assert ask("kept['it'].get(T)") == "x"
    assert [it[2] for it in shop.notes("began")] == [False, True]


def test_a_worker_that_is_stopped_ends_what_it_began(open_shop):
    shop = open_shop()
    worker = shop.worker("-c", "1", pool="prefork")
    ask = shop.ask()
    ask("[add.apply_async((1, 1), countdown=3600) and None, late.delay('x') and None]")
    shop.noted("began", bool)
    worker.process.send_signal(signal.SIGTERM)
    worker.said("Warm shutdown")
    shop.let_go("x")
    worker.stop()
    assert shop.notes("ended") == [["x"]]
    assert counts(shop, "celery") == (1, 0)  # of the one whose time had not come


def test_remote_control(open_shop):
    shop = open_shop()
    shop.worker("-c", "1", pool="prefork", name="a")
    shop.worker("-c", "1", pool="prefork", name="b")
    ask = shop.ask()
    ask("kept.update(all=app.control.inspect(timeout=T, limit=2))")
    assert ask("kept['all'].ping()") == {f"{it}@here": {"ok": "pong"} for it in "ab"}
    ask("hold.delay('x') and None")
    shop.noted("began", bool)
    active = ask("kept['all'].active()")
    assert sorted(len(it) for it in active.values()) == [0, 1]
    one = "destination=['a@here'], reply=True, timeout=T, limit=1"
    before = ask("kept['all'].stats()")["a@here"]
    (grown,) = ask(f"app.control.pool_grow(2, {one})")
    assert "ok" in grown["a@here"]
    after = ask("kept['all'].stats()")["a@here"]
    assert after["prefetch_count"] == 3 * before["prefetch_count"]
    assert ask(f"app.control.add_consumer('other', {one})")
    assert ask("add.apply_async((1, 2), queue='other').get(T)") == 3
    assert counts(shop, "other") == (0, 1)
    assert ask(f"app.control.cancel_consumer('other', {one})")
    assert counts(shop, "other") == (0, 0)
    shop.let_go("x")


def test_a_revoked_and_an_expired_task_are_not_done(open_shop):
    shop = open_shop()
    ask = shop.ask()
    ask("kept.update(late=mark.apply_async(('bad',), expires=0.001))")
    ask("kept.update(bad=mark.apply_async(('bad',), countdown=1))")
    shop.worker()
    assert ask("app.control.revoke(kept['bad'].id, reply=True, timeout=T, limit=1)")
    assert "TaskRevokedError" in ask("repr(kept['bad'].get(T, propagate=False))")
    assert ask("add.delay(1, 1).get(T)") == 2
    assert shop.notes("bad") == []


def test_events_tell_what_became_of_a_task(open_shop):
    shop = open_shop()
    watching = shop.ask()
    watching("kept.update(events=Watched())")
    shop.worker("-E")
    ask = shop.ask()
    id_ = ask("kept.setdefault('it', add.delay(1, 2)).id")
    assert ask("kept['it'].get(T)") == 3
    found = watching(f"kept['events'].until({id_!r}, 'task-succeeded')")
    assert found == ["task-received", "task-started", "task-succeeded"]


def test_flower_sees_workers_and_what_became_of_tasks(open_shop):
    shop = open_shop()
    worker = shop.worker("-E", "-c", "1", pool="prefork")
    flower = shop.flower()
    ask = shop.ask()
    id_ = ask("kept.setdefault('it', add.delay(1, 2)).id")
    assert ask("kept['it'].get(T)") == 3

    def succeeded():
        return flower("/api/tasks").get(id_, {}).get("state") == "SUCCESS"

    until(succeeded, complain=worker.complaints)
    (found,) = flower("/api/workers?refresh=1").items()
    assert found[0] == "one@here"
    assert [it["name"] for it in found[1]["active_queues"]] == ["celery"]
    assert found[1]["stats"]["broker"]["port"] == shop.amqp[1]


def test_chain_and_group_with_results_over_rpc(open_shop):
    shop = open_shop()
    shop.worker("-c", "2", pool="prefork")
    ask = shop.ask()
    assert ask("chain(add.s(1, 2), add.s(3), add.s(4))().get(T)") == 10
    assert ask("group(add.s(n, n) for n in range(20))().get(T)") == [2 * n for n in range(20)]


def test_chord_and_a_task_behind_a_group_with_results_in_files(open_shop, tmp_path):
    (tmp_path / "results").mkdir()
    shop = open_shop(
        result_backend=f"file://{tmp_path / 'results'}", result_chord_retry_interval=0.1
    )
    shop.worker("-c", "2", pool="prefork")
    ask = shop.ask()
    assert ask("chord([add.s(n, n) for n in range(10)], total.s())().get(T)") == 90
    assert ask("(group(add.s(n, n) for n in range(10)) | total.s())().get(T)") == 90
    assert ask("chain(group(add.s(1, 1), add.s(2, 2)), total.s(), add.s(1))().get(T)") == 7


def test_a_worker_goes_on_when_the_server_was_killed_and_comes_back(open_shop, start):
    server = start(amqp_port=0)
    shop = open_shop(server)
    worker = shop.worker("-c", "1", pool="prefork")
    ask = shop.ask()
    assert ask("add.delay(1, 1).get(T)") == 2
    ask("late.delay('x') and None")
    shop.noted("began", bool)
    server.stop(signal.SIGKILL)
    worker.said("Connection to broker lost")
    again = start(amqp_port=server.amqp[1])
    shop.noted("began", lambda found: len(found) == 2 or shop.let_go("x"))
    assert shop.ask()("add.delay(2, 2).get(T)") == 4
    check_end(again)
