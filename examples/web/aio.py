"""Orders with aiohttp: each order is synced before its reply, and is streamed to readers.

DATA=data PORT=8000 python aio.py
"""

import os
from collections.abc import AsyncIterator

from aiohttp import web

import logstore.aio

STORE = web.AppKey("store", logstore.aio.Store)
JOBS = web.AppKey("jobs", logstore.aio.Queue)


async def opened(app: web.Application) -> AsyncIterator[None]:
    async with logstore.aio.open(os.environ.get("DATA", "data")) as store:
        await store.create_topic("orders", exist_ok=True)
        app[STORE] = store
        app[JOBS] = await store.queue("jobs")
        yield


async def order(request: web.Request) -> web.Response:
    position = await request.app[STORE].topic("orders").append(await request.read())
    await request.app[JOBS].publish(b"pack %d" % position.offset)
    return web.json_response({"offset": position.offset})


async def orders(request: web.Request) -> web.StreamResponse:
    """Stream all orders from ``start`` on, one per line, until the client disconnects."""
    start = int(request.query.get("start", 0))
    response = web.StreamResponse(headers={"content-type": "text/plain"})
    await response.prepare(request)
    async with request.app[STORE].consumer("orders", start=start, follow=True) as records:
        async for record in records:
            await response.write(record.value + b"\n")
    return response


async def job(request: web.Request) -> web.Response:
    """Return the next job, or null if there is none."""
    message = await request.app[JOBS].get()
    if message is not None:
        await message.ack()
    return web.json_response({"job": None if message is None else message.body.decode()})


app = web.Application()
app.cleanup_ctx.append(opened)
app.add_routes([web.post("/orders", order), web.get("/orders", orders), web.get("/job", job)])

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    # A client that disconnects cancels the task that waits for more orders.
    web.run_app(app, host="127.0.0.1", port=port, handler_cancellation=True, shutdown_timeout=1)
