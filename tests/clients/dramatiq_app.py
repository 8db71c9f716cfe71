"""A dramatiq application; its environment names the broker, and the file that its actors write."""

import json
import os

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

broker = RabbitmqBroker(url=os.environ["APP_BROKER"], max_priority=10, confirm_delivery=True)
dramatiq.set_broker(broker)


@dramatiq.actor(max_retries=0)
def note(*words):
    with open(os.environ["APP_NOTES"], "a") as notes:
        notes.write(json.dumps(words) + "\n")


@dramatiq.actor(max_retries=0)
def breaks():
    raise ValueError("so")
