// One exercise with a broker, which checks itself: client.js VERSION HOST PORT EXERCISE.
//
// VERSION: 3, 5, or 3ws and 5ws over WebSocket, for MQTT.js; "z2m" is Zigbee2MQTT's own client.
const assert = require("node:assert/strict");
const { once } = require("node:events");
const mqtt = require("mqtt");
const zigbee = require("./zigbee");

const [version, host, port, exercise] = process.argv.slice(2);
const where = version.endsWith("ws") ? `ws://${host}:${port}/ws/mqtt` : `mqtt://${host}:${port}`;
const protocolVersion = version.startsWith("3") ? 4 : 5;
const DEADLINE_MS = 30_000;
const LASTING = { clean: false, ...(protocolVersion === 5 && { properties: { sessionExpiryInterval: 300 } }) };

setTimeout(() => fail(new Error("in vain")), 2 * DEADLINE_MS).unref();

function fail(error) {
  console.error(error);
  process.exit(1);
}

function numbers(from, count) {
  return [...Array(count).keys()].map((n) => String(from + n));
}

// A client, what it was told when it connected last, and what has come.
async function connect(clientId, more = {}) {
  const coming = [], waiting = [];
  const client = mqtt.connect(where, { clientId, protocolVersion, reconnectPeriod: 0, ...more });
  client.on("message", (topic, payload, packet) => {
    const it = [topic, payload.toString(), packet.qos, packet.retain];
    waiting.length ? waiting.shift()(it) : coming.push(it);
  });
  client.on("error", (error) => console.error(String(error)));
  const [told] = await once(client, "connect");
  return {
    client, present: told.sessionPresent,
    next: () => (coming.length ? coming.shift() : new Promise((go) => waiting.push(go))),
    async bodies(count) {
      const found = [];
      while (found.length < count) found.push((await this.next())[1]);
      return found;
    },
    subscribe: (topic, qos) => client.subscribeAsync(topic, { qos }),
    publish: (topic, body, qos, retain = false) => client.publishAsync(topic, body, { qos, retain }),
    close: () => client.endAsync(),
    drop: () => client.stream.destroy(),
  };
}

async function qos() {
  const hearer = await connect("q-hearer"), sender = await connect("q-sender");
  for (const level of [0, 1, 2]) {
    const topic = `js/qos/${level}`;
    assert.equal((await hearer.subscribe(topic, level))[0].qos, level);
    for (const body of numbers(0, 50)) await sender.publish(topic, body, level);
    for (const body of numbers(0, 50)) assert.deepEqual(await hearer.next(), [topic, body, level, false]);
  }
  await sender.publish("js/qos/0", "x", 2);
  assert.equal((await hearer.next())[2], 0);
  await hearer.client.unsubscribeAsync("js/qos/0");
  await sender.publish("js/qos/0", "not heard", 1);
  const large = "x".repeat(1 << 20);
  for (const level of [0, 1, 2]) {
    await sender.publish("js/qos/2", large, level);
    assert.ok((await hearer.next())[1] === large);
  }
}

async function retained() {
  const sender = await connect("r-sender");
  for (const level of [0, 1, 2]) {
    for (const body of ["old", "new"]) await sender.publish(`js/kept/${level}`, body, level, true);
  }
  const late = await connect("r-late");
  await late.subscribe("js/kept/+", 1);
  const found = [await late.next(), await late.next(), await late.next()].sort();
  assert.deepEqual(found, [0, 1, 2].map((n) => [`js/kept/${n}`, "new", Math.min(n, 1), true]));
  for (const level of [0, 1, 2]) {
    await sender.publish(`js/kept/${level}`, "", 1, true);
    assert.equal((await late.next())[3], false);
  }
  const again = await connect("r-again");
  await again.subscribe("js/kept/#", 1);
  await sender.publish("js/kept/end", "end", 1);
  assert.deepEqual(await again.bodies(1), ["end"]);
}

async function will() {
  const its = (topic) => ({ will: { topic, payload: "gone", qos: 1, retain: true } });
  const hearer = await connect("w-hearer");
  await hearer.subscribe("js/will/#", 1);
  await (await connect("w-orderly", its("js/will/never"))).close();
  (await connect("w-lost", its("js/will/lost"))).drop();
  assert.deepEqual(await hearer.next(), ["js/will/lost", "gone", 1, false]);
  const late = await connect("w-late");
  await late.subscribe("js/will/#", 1);
  assert.deepEqual(await late.next(), ["js/will/lost", "gone", 1, true]);
  await late.publish("js/will/lost", "", 1, true);
}

async function session() {
  const away = await connect("s-away", LASTING);
  assert.equal(away.present, false);
  await away.subscribe("js/session/#", 2);
  await away.close();
  const sender = await connect("s-sender");
  // One after the other: this client hands QoS 2 on with the PUBREL, which comes after QoS 1.
  for (const n of numbers(0, 50)) await sender.publish("js/session/a", n, n < 25 ? 1 : 2);
  let again = await connect("s-away", LASTING);
  assert.equal(again.present, true);
  assert.deepEqual(await again.bodies(50), numbers(0, 50));
  again.drop();
  await sender.publish("js/session/a", "more", 1);
  again = await connect("s-away", LASTING);
  assert.equal(again.present, true);
  // Those of which the server has no PUBCOMP are nothing to a new client, or come again.
  let body;
  while ((body = (await again.next())[1]) !== "more") assert.ok(numbers(25, 25).includes(body), body);
  await again.close();
  await (await connect("s-away")).close();
  const fresh = await connect("s-away", LASTING);
  assert.equal(fresh.present, false);
  await fresh.close();
  await (await connect("s-away")).close();
}

async function shared() {
  const one = await connect("sh-one"), two = await connect("sh-two"), sender = await connect("sh-sender");
  const seen = [[], []];
  for (const [n, it] of [one, two].entries()) {
    await it.subscribe("$share/group/js/shared", 1);
    it.client.on("message", (_, payload) => seen[n].push(payload.toString()));
  }
  for (const body of numbers(0, 100)) await sender.publish("js/shared", body, 1);
  while (seen[0].length + seen[1].length < 100) await new Promise((go) => setTimeout(go, 10));
  assert.equal(new Set(seen.flat()).size, 100);
  assert.ok(seen[0].length && seen[1].length);
  await two.close();
  for (const body of numbers(100, 20)) await sender.publish("js/shared", body, 1);
  while (seen[0].at(-1) !== "119") await new Promise((go) => setTimeout(go, 10));
  assert.deepEqual(seen[0].slice(-20), numbers(100, 20));
}

async function recovery() {
  const lasting = await connect("k-lasting", { ...LASTING, reconnectPeriod: 100, resubscribe: false });
  await lasting.subscribe("js/recovery/#", 2);
  for (const n of numbers(0, 20)) await lasting.publish("js/recovery/a", n, n < 10 ? 1 : 2);
  assert.deepEqual(await lasting.bodies(20), numbers(0, 20));
  await lasting.publish("js/kept-recovery", "kept", 1, true);
  const away = await connect("k-away", LASTING);
  await away.subscribe("js/recovery/#", 1);
  await away.close();
  await lasting.publish("js/recovery/b", "before", 2);
  assert.deepEqual(await lasting.bodies(1), ["before"]);
  const connected = new Promise((go) => lasting.client.once("connect", go));
  console.log("ready");
  await once(process.stdin, "data");
  assert.equal((await connected).sessionPresent, true);
  await lasting.publish("js/recovery/c", "after", 2);
  // The server may not have known of the last acknowledgements: what they are of comes again.
  let body;
  while ((body = (await lasting.next())[1]) !== "after") {
    assert.ok([...numbers(0, 20), "before"].includes(body), body);
  }
  const back = await connect("k-away", LASTING);
  assert.equal(back.present, true);
  assert.deepEqual(await back.bodies(2), ["before", "after"]);
  const late = await connect("k-late");
  await late.subscribe("js/kept-recovery", 1);
  assert.deepEqual(await late.next(), ["js/kept-recovery", "kept", 1, true]);
}

const EXERCISES = { qos, retained, will, session, shared, recovery, bridge: () => zigbee.bridge(where) };

EXERCISES[exercise]().then(() => {
  console.log("done");
  process.exit(0);
}).catch(fail);
