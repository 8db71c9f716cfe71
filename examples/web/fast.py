"""Orders with FastAPI: each order is synced before its reply, and is streamed to readers.

DATA=data python -m uvicorn fast:app --port 8000
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

import logstore.aio


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with logstore.aio.open(os.environ.get("DATA", "data")) as store:
        await store.create_topic("orders", exist_ok=True)
        app.state.store = store
        app.state.jobs = await store.queue("jobs")
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders")
async def order(request: Request) -> dict[str, int]:
    position = await request.app.state.store.topic("orders").append(await request.body())
    await request.app.state.jobs.publish(b"pack %d" % position.offset)
    return {"offset": position.offset}


@app.get("/orders")
async def orders(request: Request, start: int = 0) -> StreamingResponse:
    """Stream all orders from ``start`` on, one per line, until the client disconnects."""

    async def lines() -> AsyncIterator[bytes]:
        async with request.app.state.store.consumer("orders", start=start, follow=True) as records:
            async for record in records:
                yield record.value + b"\n"

    return StreamingResponse(lines(), media_type="text/plain")


@app.get("/job")
async def job(request: Request) -> dict[str, str | None]:
    """Return the next job, or null if there is none."""
    message = await request.app.state.jobs.get()
    if message is not None:
        await message.ack()
    return {"job": None if message is None else message.body.decode()}
