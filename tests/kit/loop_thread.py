"""An event loop in a thread of its own, and what a test in another thread has done in it."""

import asyncio
import threading

DEADLINE_S = 60


class LoopThread:
    """``wrong``: what was raised in the loop, and nobody took."""

    def __init__(self, name, new_loop=asyncio.new_event_loop):
        self.loop = new_loop()
        self.wrong = []
        self.loop.set_exception_handler(lambda _, it: self.wrong.append(it))
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, does):
        """Run a coroutine in the loop; returns its result or raises its error."""
        return asyncio.run_coroutine_threadsafe(does, self.loop).result(DEADLINE_S)

    def call(self, do, *given):
        """Call a function in the loop; returns its result or raises its error."""

        async def done():
            return do(*given)

        return self.run(done())

    def close(self):
        """Close the loop once all its tasks have ended."""

        async def over():
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others, return_exceptions=True)

        self.run(over())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(DEADLINE_S)
        self.loop.close()
