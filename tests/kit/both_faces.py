"""The asyncio face behind the calls of the other one, so that the same test is run over both.

What is awaited there returns here; what is iterated there by ``async for`` is iterated here. All of
it happens in one event loop, in a thread of its own.
"""

import asyncio
import inspect
import threading

import logstore.aio

DEADLINE_S = 60


class Loop:
    """An event loop in a thread."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, function):
        """Call a function in the loop, and await its result."""

        async def work():
            found = function()
            return await found if inspect.isawaitable(found) else found

        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    def close(self):
        self.call(self._loop.shutdown_asyncgens)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()


class Blocking:
    """One thing of ``logstore.aio``."""

    def __init__(self, thing, loop):
        object.__setattr__(self, "_thing", thing)
        object.__setattr__(self, "_loop", loop)

    def __getattr__(self, name):
        if name.startswith("_"):  # a test that looks inside: the object behind is the same
            return getattr(self._loop.call(lambda: self._thing.behind), name)
        found = self._call(lambda: getattr(self._thing, name))
        if not callable(found) or isinstance(found, Blocking | type):
            return found

        def call(*args, **given):
            if name == "replay" and "sleep" in given:
                given["sleep"] = _awaited(given["sleep"])
            return self._call(lambda: found(*map(_bare, args), **given))

        return call

    def __repr__(self):
        return repr(self._thing)

    def _call(self, function):
        found = self._loop.call(function)
        if type(found).__module__.startswith("logstore.aio"):
            return Blocking(found, self._loop)
        if isinstance(found, list):
            return [_blocking(it, self._loop) for it in found]
        return found

    def __enter__(self):
        self._call(self._thing.__aenter__)
        return self

    def __exit__(self, *how):
        self._call(lambda: self._thing.__aexit__(*how))

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self._call(self._thing.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None


def _blocking(thing, loop):
    return Blocking(thing, loop) if type(thing).__module__.startswith("logstore.aio") else thing


def _bare(given):
    if type(given) in (list, tuple):
        return type(given)(map(_bare, given))
    return given._thing if isinstance(given, Blocking) else given


def _awaited(function):
    async def call(*args):
        return function(*args)

    return call


class Opener:
    """In place of ``logstore.open`` and ``open_store``."""

    def __init__(self):
        self._loop = Loop()

    def __call__(self, *args, **given):
        opened = self._loop.call(lambda: logstore.aio.open(*args, **given))
        return Blocking(opened, self._loop)

    def close(self):
        self._loop.close()
