"""Topics that Kafka clients make, grow, delete and make again, as the view has them."""

from confluent_kafka.admin import NewPartitions

from logstore.cluster import brokers as module


def test_what_others_do_with_a_topic_is_seen(admin, make_topic, connect, monkeypatch):
    monkeypatch.setattr(module, "REFRESH_S", 0.2)
    client, name = connect(), "made-elsewhere"
    view = client.brokers.view

    def sees(met):
        client.until(client.brokers, met)

    def led():
        seen = view.topics.get(name)
        return len(seen.partitions) if seen and all(it.leader > 0 for it in seen.partitions) else 0

    client.call(client.brokers.want, name)
    sees(lambda: name in view.missing)
    make_topic(2, name)
    sees(lambda: led() == 2)
    assert name not in view.missing
    first = view.topics[name].id
    [grown] = admin.create_partitions([NewPartitions(name, 5)]).values()
    grown.result()
    sees(lambda: led() == 5)
    assert view.topics[name].id == first
    log = client.log(name, 4)
    client.append(log, b"a")
    client.until(log, lambda: log.safe == 1)
    [deleted] = admin.delete_topics([name]).values()
    deleted.result()
    sees(lambda: name in view.missing)
    assert name not in view.topics
    make_topic(1, name)
    sees(lambda: led() == 1)
    assert view.topics[name].id != first
    client.until(log, lambda: log._failure is not None)
    again = client.log(name)
    client.append(again, b"b")
    client.until(again, lambda: again.safe == 1)
    assert client.read_all(again) == [b"b"]
