// Publishes and subscribes with MQTT.js: what came of it, as JSON.
const mqtt = require("mqtt");
const [url, topic, version] = process.argv.slice(2);
const protocolVersion = Number(version);

function connect(clientId, more = {}) {
  return mqtt.connectAsync(url, { clientId, protocolVersion, reconnectPeriod: 0, ...more });
}

function next(client, count) {
  const got = [];
  return new Promise((resolve) => {
    client.on("message", function take(name, payload, packet) {
      got.push([name, payload.toString(), packet.qos, packet.retain]);
      if (got.length === count) {
        client.off("message", take);
        resolve(got);
      }
    });
  });
}

async function main() {
  const hearer = await connect(topic + "-h");
  const peer = await connect(topic + "-p");
  const packet = await new Promise((resolve, reject) => {
    hearer.subscribe({ [topic + "/a"]: { qos: 0 }, [topic + "/b"]: { qos: 1 } }, (error, granted) =>
      error ? reject(error) : resolve(granted));
  });
  const granted = packet.map((it) => it.qos);
  granted.push(await new Promise((resolve) => {
    hearer.once("packetreceive", (it) => resolve(it.cmd === "suback" ? it.granted[0] : it.cmd));
    hearer._sendPacket({ cmd: "subscribe", messageId: 9999, subscriptions: [{ topic: "a/#/b", qos: 0 }] });
  }));
  let coming = next(hearer, 2);
  await peer.publishAsync(topic + "/a", "zero", { qos: 0 });
  await peer.publishAsync(topic + "/b", "one", { qos: 1 });
  const got = (await coming).sort();
  await peer.publishAsync(topic + "/b", "kept", { qos: 1, retain: true });
  const late = await connect(topic + "-late");
  coming = next(late, 1);
  await late.subscribeAsync(topic + "/b", { qos: 1 });
  const [retained] = await coming;
  await peer.publishAsync(topic + "/b", "", { qos: 1, retain: true });
  const lasting = protocolVersion === 5
    ? { clean: false, properties: { sessionExpiryInterval: 100 } } : { clean: false };
  const away = await connect(topic + "-away", lasting);
  await away.subscribeAsync(topic + "/c", { qos: 1 });
  await away.endAsync();
  await peer.publishAsync(topic + "/c", "first", { qos: 1 });
  await peer.publishAsync(topic + "/c", "second", { qos: 1 });
  const again = mqtt.connect(url, { clientId: topic + "-away", protocolVersion, ...lasting });
  const missed = (await next(again, 2)).map((it) => it[1]);
  console.log(JSON.stringify({ granted, got, retained, missed }));
  for (const it of [hearer, peer, late, again]) it.end(true);
}

main().catch((error) => { console.error(error); process.exit(1); });
