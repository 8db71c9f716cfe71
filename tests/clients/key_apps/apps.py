"""Applications as they are, on the server whose address is given: each prints what came out."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request

HOST, PORT = sys.argv[2], int(sys.argv[3])
URL = f"redis://{HOST}:{PORT}/0"
DONE = {}


def caches(backend):
    return {"default": {"BACKEND": backend, "LOCATION": URL}}


def app(function):
    DONE[function.__name__] = function
    return function


@app
def django_core():
    import django
    from django.conf import settings

    settings.configure(
        CACHES=caches("django.core.cache.backends.redis.RedisCache"),
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        INSTALLED_APPS=["django.contrib.sessions"],
        SECRET_KEY="x",
        USE_TZ=True,
    )
    django.setup()
    from django.contrib.sessions.backends.cache import SessionStore
    from django.core.cache import cache

    cache.clear()
    cache.set("a", {"b": 1}, 100)
    assert cache.get("a") == {"b": 1}
    assert cache.add("a", 2) is False
    cache.set_many({"x": 1, "y": 2}, 50)
    assert cache.get_many(["x", "y", "z"]) == {"x": 1, "y": 2}
    assert cache.incr("x", 4) == 5
    assert cache.touch("x", 10)
    cache.set("forever", 1, None)
    cache.touch("forever", None)
    assert cache.has_key("y")
    cache.delete_many(["x", "y"])
    assert cache.get("x", "gone") == "gone"
    assert cache.get_or_set("new", lambda: 7) == 7
    session = SessionStore()
    session["who"] = "me"
    session.save()
    assert SessionStore(session.session_key)["who"] == "me"
    cache.clear()
    assert cache.get("a") is None


@app
def django_redis():
    import django
    from django.conf import settings

    settings.configure(
        CACHES=caches("django_redis.cache.RedisCache"),
        SECRET_KEY="x",
    )
    django.setup()
    from django.core.cache import cache

    cache.clear()
    cache.set("n", 1, timeout=100)
    assert cache.incr("n") == 2
    assert cache.decr("n", 5) == -3
    try:
        cache.incr("none")
    except ValueError:
        pass
    else:
        raise AssertionError
    assert 99_000 < cache.pttl("n") <= 100_000
    assert cache.persist("n")
    assert cache.ttl("n") is None
    with cache.lock("it", timeout=10):
        assert cache.get("n") == -3
    for number in range(50):
        cache.set(f"many:{number}", number)
    assert len(list(cache.iter_keys("many:*"))) == 50
    assert cache.delete_pattern("many:*") == 50
    cache.set("once", 1, nx=True)
    cache.sadd("tags", "a", "b")
    assert cache.smembers("tags") == {"a", "b"}

    cache.clear()


@app
def channels_core():
    from channels_redis.core import RedisChannelLayer

    async def run():
        layer = RedisChannelLayer(hosts=[(HOST, PORT)], capacity=3, expiry=60)
        await layer.flush()
        await layer.send("one", {"type": "x", "text": "hi"})
        assert (await layer.receive("one"))["text"] == "hi"
        names = [await layer.new_channel() for _ in range(3)]
        for name in names:
            await layer.group_add("group", name)
        for number in range(5):
            await layer.group_send("group", {"type": "x", "n": number})
        for name in names:
            got = [(await layer.receive(name))["n"] for _ in range(3)]
            assert got == [0, 1, 2], got
        waiting = asyncio.ensure_future(layer.receive("later"))
        await asyncio.sleep(0.2)
        await layer.send("later", {"type": "x"})
        assert (await waiting)["type"] == "x"
        await layer.group_discard("group", names[0])
        await layer.flush()
        await layer.close_pools()

    asyncio.run(run())


@app
def channels_pubsub():
    from channels_redis.pubsub import RedisPubSubChannelLayer

    async def run():
        layer = RedisPubSubChannelLayer(hosts=[(HOST, PORT)])
        name = await layer.new_channel()
        await layer.group_add("g", name)
        await layer.group_send("g", {"type": "t"})
        assert (await layer.receive(name))["type"] == "t"

    asyncio.run(run())


@app
def flask_caching():
    from flask import Flask
    from flask_caching import Cache

    app_ = Flask("x")
    cache = Cache(
        app_, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": URL, "CACHE_KEY_PREFIX": "fc_"}
    )
    with app_.app_context():
        cache.clear()
        calls = []

        @cache.memoize(50)
        def twice(n):
            calls.append(n)
            return 2 * n

        assert twice(3) == twice(3) == 6
        assert calls == [3]
        cache.delete_memoized(twice)
        assert twice(3) == 6
        assert calls == [3, 3]
        cache.set_many({"a": 1, "b": 2})
        assert cache.get_many("a", "b") == [1, 2]
        assert cache.add("a", 3) in (False, None)
        cache.delete_many("a", "b")
        assert not cache.has("a")
        cache.clear()


@app
def dogpile():
    from dogpile.cache import make_region

    region = make_region().configure(
        "dogpile.cache.redis",
        expiration_time=60,
        arguments={
            "host": HOST,
            "port": PORT,
            "distributed_lock": True,
            "redis_expiration_time": 120,
            "thread_local_lock": False,
        },
    )
    calls = []

    @region.cache_on_arguments()
    def slow(n):
        calls.append(n)
        return n + 1

    threads = [threading.Thread(target=slow, args=(1,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slow(1) == 2
    assert len(calls) == 1
    region.set_multi({"a": 1, "b": 2})
    assert region.get_multi(["a", "b"]) == [1, 2]
    region.delete_multi(["a", "b"])


@app
def arq():
    from arq import create_pool
    from arq.connections import RedisSettings
    from arq.worker import Worker, func

    done = []

    async def work(ctx, n):
        done.append(n)
        if ctx["job_try"] < 2 and n == 3:
            from arq import Retry

            raise Retry(defer=0.1)
        return n * 2

    async def run():
        settings = RedisSettings(host=HOST, port=PORT)
        pool = await create_pool(settings)
        await pool.flushdb()
        jobs = [await pool.enqueue_job("work", n) for n in range(5)]
        assert await pool.enqueue_job("work", 1, _job_id="same")
        assert await pool.enqueue_job("work", 1, _job_id="same") is None
        await pool.enqueue_job("work", 9, _defer_by=0.2)
        worker = Worker(
            functions=[func(work, name="work")],
            redis_settings=settings,
            burst=True,
            poll_delay=0.05,
        )
        await worker.main()
        assert [await job.result(timeout=5) for job in jobs] == [0, 2, 4, 6, 8]
        assert sorted(done) == [0, 1, 1, 2, 3, 3, 4, 9], done
        await worker.close()
        await pool.aclose()

    asyncio.run(run())


@app
def huey():
    from huey import PriorityRedisHuey, RedisExpireHuey, RedisHuey

    for kind in (RedisHuey, PriorityRedisHuey, RedisExpireHuey):
        queue = kind("it", host=HOST, port=PORT, immediate=False)
        queue.flush()

        @queue.task()
        def add(a, b):
            return a + b

        consumer = queue.create_consumer(workers=2, periodic=False, initial_delay=0.01)
        results = [add(n, 1) for n in range(5)]
        later = add.schedule((10, 1), delay=0.3)
        consumer.start()
        assert [result.get(blocking=True, timeout=10) for result in results] == [1, 2, 3, 4, 5]
        assert later.get(blocking=True, timeout=10) == 11
        with queue.lock_task("lock"):
            pass
        consumer.stop(graceful=True)
        queue.flush()


@app
def celery():
    with celery_worker():
        from celery import chain, chord, group
        from celery_tasks import add, fails, total

        assert add.delay(1, 2).get(timeout=30) == 3
        assert group(add.s(n, n) for n in range(5))().get(timeout=30) == [0, 2, 4, 6, 8]
        assert chord((add.s(n, n) for n in range(10)), total.s())().get(timeout=30) == 90
        assert chain(add.s(1, 1), add.s(5))().get(timeout=30) == 7
        try:
            fails.delay().get(timeout=30)
        except ValueError:
            pass
        else:
            raise AssertionError
        result = add.apply_async((1, 1), countdown=1)
        assert result.get(timeout=30) == 2


@contextlib.contextmanager
def celery_worker(*words):
    folder = os.path.dirname(__file__)
    os.environ.update(REDIS_URL=URL, PYTHONPATH=folder)
    sys.path.insert(0, folder)
    command = [sys.executable, "-m", "celery", "-A", "celery_tasks"]
    options = ["-c", "2", "--pool=threads", "-l", "WARNING", *words]
    worker = subprocess.Popen([*command, "worker", *options], cwd=folder)
    try:
        yield command
    finally:
        worker.terminate()
        worker.wait(30)


@app
def flower():
    """It shows workers by their events, tasks, and how long the queues are."""
    with celery_worker("-E") as command:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        shown = subprocess.Popen(
            [*command, "flower", f"--port={port}", "--address=127.0.0.1"],
            env={**os.environ, "FLOWER_UNAUTHENTICATED_API": "true"},
        )
        try:
            from celery_tasks import add

            def asked(path):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}") as answer:
                        return json.load(answer)
                except OSError:  # it is not there yet
                    return {}

            def until(met):
                end = time.monotonic() + 60
                while not (found := met()):
                    assert time.monotonic() < end, met
                    time.sleep(0.1)
                return found

            workers = until(lambda: asked("workers?refresh=1"))
            assert [it["active_queues"][0]["name"] for it in workers.values()] == ["celery"]
            task = add.delay(3, 4)
            assert task.get(timeout=30) == 7
            seen = until(
                lambda: asked(f"task/info/{task.id}").get("state") == "SUCCESS" and asked("tasks")
            )
            assert seen[task.id]["result"] == "7"
            lengths = asked("queues/length")["active_queues"]
            assert lengths == [{"name": "celery", "messages": 0}]
        finally:
            shown.terminate()
            shown.wait(30)


@app
def locks():
    import redis
    from limits import parse, storage, strategies

    client = redis.Redis(HOST, PORT)
    with client.lock("l", timeout=5) as lock:
        assert lock.owned()
        assert lock.extend(3)
        assert lock.reacquire()
        assert not client.lock("l").acquire(blocking=False)
    store = storage.RedisStorage(URL)
    store.reset()
    for kind in (
        strategies.FixedWindowRateLimiter,
        strategies.MovingWindowRateLimiter,
        strategies.SlidingWindowCounterRateLimiter,
    ):
        limiter, limit = kind(store), parse("3/minute")
        name = kind.__name__
        assert [limiter.hit(limit, name) for _ in range(5)] == [True] * 3 + [False] * 2, name
        assert limiter.get_window_stats(limit, name).remaining == 0
        assert not limiter.test(limit, name)
        limiter.clear(limit, name)
        assert limiter.hit(limit, name)


@app
def aiocache():
    from aiocache import Cache
    from aiocache.lock import OptimisticLock, RedLock

    async def run():
        cache = Cache(Cache.REDIS, endpoint=HOST, port=PORT, namespace="aio")
        await cache.clear()
        await cache.set("k", 1, ttl=50)
        assert await cache.get("k") == 1
        assert await cache.increment("n", 3) == 3
        await cache.multi_set([("a", 1), ("b", 2)], ttl=10)
        assert await cache.multi_get(["a", "b"]) == [1, 2]
        async with RedLock(cache, "k", 5):
            pass
        async with OptimisticLock(cache, "k") as lock:
            await lock.cas(2)
        assert await cache.get("k") == 2
        await cache.clear()
        await cache.close()

    asyncio.run(run())


if __name__ == "__main__":
    DONE[sys.argv[1]]()
    print("done")
