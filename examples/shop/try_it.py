"""Order something, and wait until it is ready: `python try_it.py [HOST:PORT [WHAT]]`."""

import asyncio
import json
import sys
from urllib.request import Request, urlopen

from websockets.asyncio.client import connect


async def main(host: str = "127.0.0.1:8000", what: str = "a cake") -> None:
    async with connect(f"ws://{host}/customers/ana") as socket:
        body = json.dumps({"customer": "ana", "what": what}).encode()
        request = Request(f"http://{host}/orders", body, {"Content-Type": "application/json"})
        answer = await asyncio.to_thread(urlopen, request)
        print(f"ordered: {answer.status}", flush=True)
        print(f"ready: {json.loads(await socket.recv())['ready']}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
