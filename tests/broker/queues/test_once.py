"""That repeats are kept out, by a queue and by an exchange, also after a kill: what of it is tried
in every run. The rest is in ``test_queue_repeats.py`` and ``test_once_exchange.py``.
"""


def test_each_id_is_there_once_also_after_a_kill(lives):
    node = lives.node
    node.declare(b"once", message_deduplication=True, cache_ttl=10_000)
    node.declare(b"bound")
    node.exchange(b"x", "x-message-deduplication", x_cache_size=10)
    node.bind(b"x", b"bound")

    def send(node, *ids):
        for it in ids:
            headers = {"x-deduplication-header": it}
            node.publish(b"once", it.encode(), headers=headers)
            node.publish(b"", it.encode(), exchange=b"x", headers=headers)

    send(node, "a", "b", "a")
    node = lives.kill()
    node.ready(b"once")
    send(node, "b", "c")
    assert node.bodies(b"once") == node.bodies(b"bound") == [b"a", b"b", b"c"]
    send(node, "c")
    assert node.bodies(b"once") == node.bodies(b"bound") == []
