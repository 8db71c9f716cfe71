// Zigbee2MQTT's own way to a broker, with a lamp in place of a radio.
const { mkdtempSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

const DISCOVERY = { baseTopic: "homeassistant", skipReceive: false };

function settled(where) {
  const folder = mkdtempSync(join(tmpdir(), "zigbee2mqtt-"));
  writeFileSync(join(folder, "configuration.yaml"), [
    `mqtt: {base_topic: zigbee2mqtt, server: "${where}"}`,
    "serial: {port: /dev/null, adapter: ember}",
    "homeassistant: {enabled: true}",
    "advanced: {log_output: []}",
    "",
  ].join("\n"));
  process.env.ZIGBEE2MQTT_DATA = folder;
  require("zigbee2mqtt/dist/util/logger").default.init();
}

// It tells what there is, says its lamp's state when Home Assistant comes, and switches it.
exports.bridge = async function bridge(where) {
  settled(where);
  const EventBus = require("zigbee2mqtt/dist/eventBus").default;
  const Mqtt = require("zigbee2mqtt/dist/mqtt").default;
  const bus = new EventBus();
  const client = new Mqtt(bus);
  const lamp = { state: "OFF" };
  const tell = () => client.publish("lamp", JSON.stringify(lamp), { clientOptions: { retain: true } });
  bus.onMQTTMessage("lamp", ({ topic, message }) => {
    if (topic === "homeassistant/status" && message === "online") tell();
    if (topic === "zigbee2mqtt/lamp/set") {
      Object.assign(lamp, JSON.parse(message));
      tell();
    }
  });
  await client.connect();
  await client.subscribe("homeassistant/status");
  await client.publish("bridge/info", JSON.stringify({ version: "2" }), { clientOptions: { retain: true } });
  const config = {
    name: null, command_topic: "zigbee2mqtt/lamp/set", state_topic: "zigbee2mqtt/lamp",
    availability: [{ topic: "zigbee2mqtt/bridge/state", value_template: "{{ value_json.state }}" }],
    schema: "json", unique_id: "0x1_light_zigbee2mqtt",
  };
  await client.publish("light/0x1/light/config", JSON.stringify(config), {
    clientOptions: { retain: true, qos: 1 }, ...DISCOVERY,
  });
  await tell();
  console.log("ready");
  await new Promise(() => {}); // until it is killed
};
