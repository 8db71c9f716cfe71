"""A taskiq application over RabbitMQ: one worker and one who asks, in one process."""

import asyncio
import os

from taskiq_aio_pika import AioPikaBroker, Queue

DEADLINE_S = 60
done = asyncio.Event()
broker = AioPikaBroker(os.environ["APP_BROKER"], delay_queue=Queue(name="taskiq.delay"))
found = []


@broker.task
async def add(x: int, y: int) -> None:
    found.append(x + y)
    if len(found) == 2:
        done.set()


async def main() -> None:
    broker.is_worker_process = True
    await broker.startup()

    async def work() -> None:
        async for message in broker.listen():
            task = broker.formatter.loads(message.data)
            await add.original_func(*task.args)
            await message.ack()

    worker = asyncio.create_task(work())
    await add.kiq(2, 3)
    await add.kicker().with_labels(delay=1).kiq(4, 5)
    await asyncio.wait_for(done.wait(), DEADLINE_S)
    worker.cancel()
    await broker.shutdown()
    print(*found)


asyncio.run(main())
