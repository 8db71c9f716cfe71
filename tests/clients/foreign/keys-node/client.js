// One exercise with the server's keys, which checks itself: client.js HOST PORT EXERCISE.
const assert = require("node:assert/strict");
const { once } = require("node:events");
const { createKeyv } = require("@keyv/redis");
const { createCache } = require("cache-manager");
const { RedisStore } = require("connect-redis");
const express = require("express");
const { rateLimit } = require("express-rate-limit");
const session = require("express-session");
const Redis = require("ioredis");
const { RedisStore: LimitStore } = require("rate-limit-redis");
const redis = require("redis");

const [host, port, exercise] = process.argv.slice(2);
const url = `redis://${host}:${port}`;
const DEADLINE_MS = 30_000;

setTimeout(() => fail(new Error("in vain")), 2 * DEADLINE_MS).unref();

function fail(error) {
  console.error(error);
  process.exit(1);
}

async function until(holds) {
  const end = Date.now() + DEADLINE_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `in vain: ${holds}`);
    await new Promise((go) => setTimeout(go, 10));
  }
}

async function nodeRedis(options = {}) {
  const client = redis.createClient({ url, ...options });
  client.on("error", (error) => console.error(String(error)));
  await client.connect();
  return client;
}

// A cache with times to live, a lock, a pipeline, a transaction, a queue, messages beside.
async function ioredis() {
  const client = new Redis({ host, port });
  const other = new Redis({ host, port });
  await client.set("io:a", "1", "EX", 100);
  assert.deepEqual([await client.get("io:a"), await client.ttl("io:a")], ["1", 100]);
  await client.set("io:short", "1", "PX", 1);
  await until(async () => (await client.get("io:short")) === null);
  assert.equal(await client.set("io:lock", "me", "PX", 30_000, "NX"), "OK");
  assert.equal(await other.set("io:lock", "you", "PX", 30_000, "NX"), null);
  const pipeline = client.pipeline();
  for (let n = 0; n < 1000; n++) pipeline.incr("io:n");
  const found = await pipeline.exec();
  assert.deepEqual(found.map((it) => it[1]), [...Array(1000).keys()].map((n) => n + 1));
  assert.deepEqual(
    await client.multi().hset("io:h", { f: 1, g: 2 }).hgetall("io:h").exec(),
    [[null, 2], [null, { f: "1", g: "2" }]]);
  await client.watch("io:n");
  await other.incr("io:n");
  assert.equal(await client.multi().set("io:n", 0).exec(), null);
  const popped = client.blpop("io:queue", 30);
  await other.rpush("io:queue", "job");
  assert.deepEqual(await popped, ["io:queue", "job"]);
  const listener = new Redis({ host, port });
  await listener.psubscribe("io:news:*");
  const heard = once(listener, "pmessage");
  assert.equal(await other.publish("io:news:1", "hello"), 1);
  assert.deepEqual(await heard, ["io:news:*", "io:news:1", "hello"]);
  const keys = [];
  for await (const some of client.scanStream({ match: "io:*", count: 2 })) keys.push(...some);
  assert.deepEqual([...new Set(keys)].sort(), ["io:a", "io:h", "io:lock", "io:n"]);
  const auto = new Redis({ host, port, enableAutoPipelining: true });
  assert.deepEqual(
    await Promise.all([auto.get("io:a"), auto.get("io:n"), auto.hget("io:h", "f")]),
    ["1", "1001", "1"]);
  await client.zadd("io:z", 1, "a", 2, "b");
  assert.deepEqual(await client.zpopmin("io:z"), ["a", "1"]);
  assert.deepEqual(await client.getBuffer("io:a"), Buffer.from("1"));
  assert.equal(await client.unlink("io:a", "io:h", "io:lock", "io:n", "io:z"), 5);
}

async function nodeRedisTasks() {
  for (const RESP of [2, 3]) {
    const client = await nodeRedis({ RESP });
    const other = await nodeRedis({ RESP });
    await client.set("nr:a", "1", { expiration: { type: "EX", value: 100 } });
    assert.equal(await client.ttl("nr:a"), 100);
    assert.equal(await client.set("nr:lock", "me", { condition: "NX" }), "OK");
    assert.equal(await other.set("nr:lock", "you", { condition: "NX" }), null);
    const all = await Promise.all([...Array(100).keys()].map(() => client.incr("nr:n")));
    assert.equal(all.at(-1), 100);
    assert.deepEqual(await client.multi().set("nr:b", "2").get("nr:b").exec(), ["OK", "2"]);
    const popped = client.blPop("nr:queue", 30);
    await other.rPush("nr:queue", "job");
    assert.deepEqual({ ...(await popped) }, { key: "nr:queue", element: "job" });
    const listener = await nodeRedis({ RESP });
    const heard = new Promise((go) => listener.subscribe("nr:news", (message) => go(message)));
    await until(async () => (await other.publish("nr:news", "hello")) === 1);
    assert.equal(await heard, "hello");
    await client.hSet("nr:h", { f: "v" });
    assert.deepEqual({ ...(await client.hGetAll("nr:h")) }, { f: "v" });
    await client.zAdd("nr:z", [{ score: 1.5, value: "a" }]);
    assert.deepEqual(
      (await client.zRangeWithScores("nr:z", 0, -1)).map((it) => [it.value, it.score]), [["a", 1.5]]);
    const keys = [];
    for await (const some of client.scanIterator({ MATCH: "nr:*" })) keys.push(...some);
    assert.deepEqual([...new Set(keys)].sort(), ["nr:a", "nr:b", "nr:h", "nr:lock", "nr:n", "nr:z"]);
    await client.del(keys);
    for (const it of [client, other, listener]) it.destroy();
  }
}

// node-redis keeps copies on its side, and is told when they are void.
async function copies() {
  const client = await nodeRedis({ RESP: 3, clientSideCache: { ttl: 0, maxEntries: 100 } });
  const other = await nodeRedis();
  await other.set("copy", "1");
  assert.equal(await client.get("copy"), "1");
  const asked = async () => Number(/total_commands_processed:(\d+)/.exec(await other.info("stats"))[1]);
  const before = await asked();
  for (let n = 0; n < 50; n++) assert.equal(await client.get("copy"), "1");
  assert.ok((await asked()) - before < 50, "each was asked for again");
  await other.set("copy", "2");
  await until(async () => (await client.get("copy")) === "2");
  await other.flushDb();
  await until(async () => (await client.get("copy")) === null);
}

function serve(app) {
  return new Promise((go) => {
    const server = app.listen(0, "127.0.0.1", () => go(`http://127.0.0.1:${server.address().port}`));
  });
}

// Two processes' worth of an application that keep their sessions here.
async function sessions() {
  const client = await nodeRedis();
  const store = new RedisStore({ client, prefix: "sess:", ttl: 500 });
  const apps = [];
  for (let n = 0; n < 2; n++) {
    const app = express();
    app.use(session({ store, secret: "x", resave: false, saveUninitialized: false }));
    app.get("/login", (request, response) => {
      request.session.user = "me";
      response.send("in");
    });
    app.get("/", (request, response) => {
      request.session.seen = (request.session.seen ?? 0) + 1;
      response.json([request.session.user ?? null, request.session.seen]);
    });
    app.get("/logout", (request, response) => request.session.destroy(() => response.send("out")));
    apps.push(await serve(app));
  }
  const login = await fetch(`${apps[0]}/login`);
  const headers = { cookie: login.headers.get("set-cookie").split(";")[0] };
  for (let n = 0; n < 10; n++) {
    const said = await (await fetch(apps[n % 2], { headers })).json();
    assert.deepEqual(said, ["me", n + 1]);
  }
  const [key] = await client.keys("sess:*");
  const ttl = await client.ttl(key);
  assert.ok(ttl > 490 && ttl <= 500, String(ttl));
  assert.equal((await store.ids()).length, 1);
  assert.equal((await store.all())[0].user, "me");
  await fetch(`${apps[1]}/logout`, { headers });
  assert.deepEqual(await (await fetch(apps[0], { headers })).json(), [null, 1]);
  await store.clear();
  assert.equal(await store.length(), 0);
}

async function limits() {
  const client = await nodeRedis();
  const app = express();
  const sendCommand = (...words) => client.sendCommand(words);
  const store = new LimitStore({ sendCommand, prefix: "limit:" });
  app.use(rateLimit({ windowMs: 60_000, limit: 3, store, validate: false }));
  app.get("/", (_, response) => response.send("ok"));
  const at = await serve(app);
  const codes = [];
  for (let n = 0; n < 5; n++) codes.push((await fetch(at)).status);
  assert.deepEqual(codes, [200, 200, 200, 429, 429]);
  const [key] = await client.keys("limit:*");
  assert.ok((await client.pTTL(key)) > 50_000);
  await store.resetKey(key.slice("limit:".length));
  assert.equal((await fetch(at)).status, 200);
  await client.flushDb();
}

async function keyv() {
  const keyv = createKeyv(url, { namespace: "kv" });
  await keyv.set("a", { b: [1, 2] }, 60_000);
  assert.deepEqual(await keyv.get("a"), { b: [1, 2] });
  assert.deepEqual(await keyv.get(["a", "none"]), [{ b: [1, 2] }, undefined]);
  await keyv.set("short", 1, 1);
  await until(async () => (await keyv.get("short")) === undefined);
  const cache = createCache({ stores: [keyv], ttl: 60_000 });
  let calls = 0;
  for (let n = 0; n < 3; n++) assert.equal(await cache.wrap("slow", async () => ++calls), 1);
  await cache.mset([{ key: "x", value: 1 }, { key: "y", value: 2 }]);
  assert.deepEqual(await cache.mget(["x", "y"]), [1, 2]);
  assert.ok(await cache.del("x"));
  await cache.clear();
  assert.equal(await cache.get("y"), undefined);
}

// The server is killed and comes back.
async function recovery() {
  const client = new Redis({ host, port, retryStrategy: () => 50, maxRetriesPerRequest: null });
  const listener = new Redis({ host, port, retryStrategy: () => 50 });
  const second = await nodeRedis({ socket: { reconnectStrategy: 50 } });
  for (const it of [client, listener]) it.on("error", (error) => console.error(String(error)));
  const heard = [];
  listener.on("message", (_, message) => heard.push(message));
  await listener.subscribe("news");
  await client.set("lasting", "1", "EX", 1000);
  await client.rpush("jobs", "one", "two");
  await second.hSet("hash", { f: "v" });
  const popped = client.blpop("later", 0); // waits over the kill, and is asked again
  console.log("ready");
  await once(process.stdin, "data");
  const third = new Redis({ host, port, retryStrategy: () => 50, maxRetriesPerRequest: null });
  third.on("error", (error) => console.error(String(error)));
  assert.equal(await third.get("lasting"), "1");
  assert.ok((await third.ttl("lasting")) > 900);
  assert.deepEqual(await third.lrange("jobs", 0, -1), ["one", "two"]);
  await until(async () => (await third.publish("news", "again")) === 1);
  await until(() => heard.length > 0);
  await third.rpush("later", "job");
  assert.deepEqual(await popped, ["later", "job"]);
  await until(() => second.isReady);
  assert.equal(await second.hGet("hash", "f"), "v");
}

const EXERCISES = {
  ioredis, "node-redis": nodeRedisTasks, "client-side caching": copies, "express sessions": sessions,
  "rate limits": limits, "keyv and cache-manager": keyv, recovery,
};

EXERCISES[exercise]().then(() => {
  console.log("done");
  process.exit(0);
}).catch(fail);
