import uvloop

from logstore.node.groups import Alarm


def run(*times_ms):
    """How often an alarm that is set to these times from now has rung when the last is over."""
    loop = uvloop.new_event_loop()
    rung = []
    alarm = Alarm(loop, lambda: rung.append(loop.time()))
    now_ms = int(loop.time() * 1000)
    for it in times_ms:
        alarm.set(now_ms + it)
    loop.call_later(max(*times_ms, 0) / 1000 + 0.01, loop.stop)
    loop.run_forever()
    loop.close()
    return len(rung)


def test_a_group_was_due_at_once_and_the_next_deadline_found_a_timer_without_a_time():
    assert run(-1000, 0) == 1
    assert run(0, 5) == 1


def test_the_earlier_time_counts():
    assert run(5, 1) == 1
    assert run(1, 5) == 1
