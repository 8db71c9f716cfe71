import pytest
import redis
from confluent_kafka import Consumer
from orders import Shop


@pytest.fixture
def shop(kafka_bootstrap, redis_url, amqp_url, kafka_topic, amqp_queue, redis_channel):
    names = amqp_queue(), kafka_topic(partitions=3), redis_channel()
    shop = Shop(kafka_bootstrap, redis_url, amqp_url, *names)
    yield shop
    shop.close()


def test_an_order_is_carried_out_once(shop):
    shop.order("ana", "a cake")
    shop.order("bo", "two teas")
    assert shop.work() == {"customer": "ana", "what": "a cake"}
    assert shop.work() == {"customer": "bo", "what": "two teas"}
    assert shop.work() is None


def test_an_order_becomes_an_event(shop, kafka_bootstrap):
    shop.order("ana", "a cake")
    shop.work()
    events = Consumer(
        {"bootstrap.servers": kafka_bootstrap, "group.id": "test", "auto.offset.reset": "earliest"}
    )
    events.subscribe([shop.topic])
    event = events.poll(10)
    assert (event.key(), event.value()) == (b"ana", b'{"customer": "ana", "what": "a cake"}')
    events.close()


def test_whoever_listens_hears_of_an_order(shop, redis_url):
    with redis.Redis.from_url(redis_url).pubsub() as listener:
        listener.subscribe(shop.channel)
        listener.get_message(timeout=10)  # it is subscribed
        shop.order("bo", "two teas")
        shop.work()
        assert listener.get_message(timeout=10)["data"] == b"bo gets two teas"


@pytest.mark.logstore(isolated=True)
def test_an_order_outlives_a_server_that_is_killed(logstore):
    shop = Shop(logstore.kafka, logstore.redis, logstore.amqp)
    shop.order("ana", "a cake")
    shop.close()
    logstore.kill()
    logstore.start()
    shop = Shop(logstore.kafka, logstore.redis, logstore.amqp)
    assert shop.work() == {"customer": "ana", "what": "a cake"}
    shop.close()
