"""Transactions of a real producer: what was aborted is there for no reader of a cluster's logs."""

from confluent_kafka import Producer

from logstore.broker.committed import CommittedLog


def test_readers_see_what_is_committed_and_no_more(cluster, make_topic, connect):
    topic, client = make_topic(), connect()
    log = client.log(topic)
    producer = Producer({"bootstrap.servers": cluster.address, "transactional.id": topic})
    producer.init_transactions()
    expected = []
    for number in range(12):
        producer.begin_transaction()
        for part in range(3):
            producer.produce(topic, b"%d.%d" % (number, part), partition=0)
        producer.flush()
        if number % 3 == 0:  # it stands between, and is of no transaction
            mark = client.append(log, b"plain %d" % number)
            client.until(log, lambda mark=mark: log.done > mark)
        if number % 2:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
            expected += [b"%d.%d" % (number, part) for part in range(3)]
        if number % 3 == 0:
            expected.append(b"plain %d" % number)
    producer.begin_transaction()
    producer.produce(topic, b"open", partition=0)
    producer.flush()
    committed = 12 * 4 + 4  # with a marker each, and 4 that are of none
    for client_, its in ((client, log), (late := connect(), late.log(topic))):
        client_.until(its, lambda its=its: its.safe == committed)
        seen = client_.read_all(its, view=CommittedLog)
        assert seen == expected
    producer.abort_transaction()
    client.until(log, lambda: log.safe == committed + 2)
    assert client.read_all(log, view=CommittedLog) == expected
