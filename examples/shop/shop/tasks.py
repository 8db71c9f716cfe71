import asyncio
import json

from aiokafka import AIOKafkaProducer
from channels.layers import get_channel_layer
from django.conf import settings

from shop import celery


@celery.task
def bake(customer: str, what: str) -> None:
    asyncio.run(_bake(customer, what))


async def _bake(customer: str, what: str) -> None:
    event = json.dumps({"customer": customer, "what": what}).encode()
    async with AIOKafkaProducer(
        bootstrap_servers=settings.KAFKA, enable_idempotence=True
    ) as events:
        await events.send_and_wait(settings.TOPIC, event, key=customer.encode())
    layer = get_channel_layer()
    await layer.group_send(f"customer.{customer}", {"type": "ready", "what": what})
