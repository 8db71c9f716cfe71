"""What does the page cost a server that does nothing else, open in 10 browsers?

A server with 10,000 queues and 1,000 topics, of which none moves. 10 clients have the stream of
events of the page's first view, an event a second each, as a browser that shows it has; a browser
that does not show it has none. Measured: processor time of the server, as a part of one core, with
them and without, over 20 seconds each (bar for what they add: 2 %).
"""

import socket
import sys
import time
from pathlib import Path

from bench.amqp_line import AmqpLine
from bench.harness import Figure, bound, script, size
from bench.largest_amqp import declare, sent
from bench.server import Server, free_port

BROWSERS = 10
QUEUES = size(10_000, 100)
TOPICS = size(1000, 10)
SECONDS = size(20.0, 1.0)
BAR = 2.0
ASKED = b"GET /api/v1/events?view=overview HTTP/1.1\r\nhost: 127.0.0.1:%d\r\n\r\n"


class Browser:
    """Takes what it is sent, when it is asked how much that was."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), 60)
        self._sock.sendall(ASKED % port)
        self._sock.setblocking(False)

    def events(self) -> int:
        """The number of events since the last call."""
        count = 0
        try:
            while data := self._sock.recv(1 << 20):
                count += data.count(b"event: figures")
        except BlockingIOError:
            pass
        return count

    def close(self) -> None:
        self._sock.close()


def measure(scratch: Path, rounds: int) -> list[Figure]:
    import logstore

    data = scratch / "data"
    with logstore.open(data) as store:
        for number in range(TOPICS):
            store.create_topic(f"topic-{number}")
    rabbit, port = free_port(), free_port()
    command = [
        sys.executable, "-m", "bench.by_processor", "serve", "--data", str(data),
        "--kafka-port", "-1", "--resp-port", "-1", "--amqp-port", str(rabbit),
        "--mqtt-port", "-1", "--stomp-port", "-1",
        "--http-port", str(port),
    ]  # fmt: skip
    server = Server("logstore", scratch, port, command)
    server.start()
    try:
        server.wait_until_it_listens()
        line = AmqpLine(rabbit)
        line.send(sent(*(declare(f"queue-{n}") for n in range(QUEUES))))
        line.close()
        first = Browser(port)  # from now on figures are looked at
        time.sleep(size(12.0, 0.5))
        first.close()
        alone, watched = [], []
        for _ in range(rounds):
            alone.append(_share(server, []))
            browsers = [Browser(port) for _ in range(BROWSERS)]
            watched.append(_share(server, browsers))
            for it in browsers:
                it.close()
    finally:
        server.stop()
    added = [with_them - without for with_them, without in zip(watched, alone, strict=True)]
    return [
        bound("without a browser", "% of a core", alone, bar=None),
        bound(f"with {BROWSERS}", "% of a core", watched, bar=None),
        bound("what they add", "% of a core", [max(it, 0.0) for it in added], bar=BAR),
    ]


def _share(server: Server, browsers: list[Browser]) -> float:
    """Percent of a core, over some seconds in which the browsers receive events."""
    began, used = time.monotonic(), server.cpu_s()
    events = 0
    while time.monotonic() < began + SECONDS:
        time.sleep(0.2)
        events += sum(it.events() for it in browsers)
    took = time.monotonic() - began
    if events < len(browsers) * int(took / 2):
        raise SystemExit(f"{len(browsers)} browsers got {events} events in {took:.0f} s")
    return 100 * (server.cpu_s() - used) / took


if __name__ == "__main__":
    script(__doc__, measure)
