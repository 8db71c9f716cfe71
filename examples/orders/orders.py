"""A shop in three models: orders wait in a queue, become events, and are told to who listens."""

import json

import pika
import redis
from confluent_kafka import Producer


class Shop:
    def __init__(self, kafka, redis_url, amqp_url, queue="orders", topic="events", channel="news"):
        self.queue, self.topic, self.channel = queue, topic, channel
        self.events = Producer({"bootstrap.servers": kafka, "enable.idempotence": True})
        self.listeners = redis.Redis.from_url(redis_url)
        self.broker = pika.BlockingConnection(pika.URLParameters(amqp_url))
        self.jobs = self.broker.channel()
        self.jobs.queue_declare(queue, durable=True)
        self.jobs.confirm_delivery()

    def order(self, customer, what):
        """Safe in the queue on return."""
        body = json.dumps({"customer": customer, "what": what})
        self.jobs.basic_publish("", self.queue, body, mandatory=True)

    def work(self):
        """Carry out the next order, if there is one; what it was."""
        delivery, _, body = self.jobs.basic_get(self.queue)
        if delivery is None:
            return None
        order = json.loads(body)
        self.events.produce(self.topic, key=order["customer"], value=body)
        self.events.flush()
        self.listeners.publish(self.channel, f"{order['customer']} gets {order['what']}")
        self.jobs.basic_ack(delivery.delivery_tag)  # last: all of it is done
        return order

    def close(self):
        self.broker.close()
        self.listeners.close()
