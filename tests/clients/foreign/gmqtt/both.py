"""What one client of gmqtt publishes and gets back: HOST PORT TOPIC VERSION; prints it as JSON."""

import asyncio
import json
import sys

import gmqtt


async def both(host, port, topic, version):
    got, there = asyncio.Queue(), asyncio.Event()
    client = gmqtt.Client(topic)
    client.on_message = lambda _, name, payload, qos, __: (
        got.put_nowait((name, payload.decode(), qos)) or 0
    )
    client.on_subscribe = lambda *_: there.set()
    await client.connect(host, int(port), version=int(version))
    client.subscribe(f"{topic}/+", qos=1)
    await there.wait()
    for qos in (0, 1):
        client.publish(f"{topic}/a", b"x%d" % qos, qos=qos, content_type="text/plain")
    found = [await got.get(), await got.get()]
    await client.disconnect()
    return sorted(found)


print(json.dumps(asyncio.run(both(*sys.argv[1:]))))
