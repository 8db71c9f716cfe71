"""Transactions of Kafka clients on the page."""

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

pytestmark = pytest.mark.foreign

NAME = "<b>copier</b>/ü"


@pytest.fixture
def open_transaction(store):
    producer = Producer({
        "bootstrap.servers": store.address, "transactional.id": NAME,
        "transaction.timeout.ms": 300_000,
    })  # fmt: skip
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(3):
        producer.produce("orders", b"%d" % number, partition=0)
    assert producer.flush(30) == 0
    yield producer
    producer.purge()


def test_an_open_transaction_is_shown_and_aborted(browser, store, open_transaction):
    page = browser.page(store.url).open("#/transactions")
    page.sees("1 transactional id", "main")
    [row] = page.rows("Transactional ids")
    assert row[:3] == [NAME, "Ongoing", "1"]
    assert page.complaints() == []
    page.do("await page.getByRole('link', {name: given.name, exact: true}).click()", name=NAME)
    page.sees("wait for it", "main")
    assert page.rows("Where it has written") == [["orders", "0", "0", "wait for it"]]
    page.open("#/topics/orders/partitions")
    page.sees("Stable up to", "main")
    page.sees(NAME, "main")
    page.open("#/transactions")
    page.do("await page.getByRole('button', {name: /^Abort the transaction of/}).click()")
    page.sees("is never seen by readers of committed records", "dialog")
    page.confirm(f"Abort the transaction of {NAME}")
    page.sees("Aborted the transaction of", "#results")
    page.sees("CompleteAbort", "main")
    assert page.faults() == []
    with pytest.raises(KafkaException):
        open_transaction.commit_transaction(30)
    reader = Consumer({"bootstrap.servers": store.address, "group.id": "none"})
    assert reader.get_watermark_offsets(TopicPartition("orders", 0), 30)[1] == 4
    reader.close()
