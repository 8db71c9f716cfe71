"""Keeps count of what each customer has had: `python -m shop.accounts`."""

import asyncio
import json
from collections import Counter

from aiokafka import AIOKafkaConsumer
from django.conf import settings


async def main() -> None:
    counts: Counter[str] = Counter()
    async with AIOKafkaConsumer(
        settings.TOPIC,
        bootstrap_servers=settings.KAFKA,
        group_id="accounts",
        auto_offset_reset="earliest",
    ) as events:
        async for event in events:
            customer = json.loads(event.value)["customer"]
            counts[customer] += 1
            print(f"{customer} has had {counts[customer]}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
