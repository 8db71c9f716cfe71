// stompjs over WebSocket: a subscription with acknowledgements, a transaction, text and bytes.
// Says as JSON what it got. Words: the URL.
const { Client, Versions } = require("@stomp/stompjs");
Object.assign(global, { WebSocket: require("ws") });

const got = [];
const client = new Client({
  brokerURL: process.argv[2],
  connectHeaders: { login: "guest", passcode: "guest" },
  stompVersions: Versions.default,
  heartbeatIncoming: 1000,
  heartbeatOutgoing: 1000,
  reconnectDelay: 0,
  onStompError: (frame) => fail(frame.headers.message + ": " + frame.body),
  onWebSocketError: (error) => fail(String(error.message)),
});

function fail(why) {
  console.error(why);
  process.exit(1);
}

client.onConnect = (connected) => {
  got.push(["version", connected.headers.version]);
  client.subscribe("/queue/js", (message) => {
    const bytes = message.headers["kind"] === "bytes";
    got.push([message.headers["kind"], bytes ? [...message.binaryBody] : message.body]);
    message.ack();
    if (got.length === 5) {
      client.watchForReceipt("beat", () => setTimeout(end, 2500));  // longer than two heart-beats
      client.publish({ destination: "/topic/nobody", headers: { receipt: "beat" }, body: "" });
    }
  }, { ack: "client-individual", id: "sub:1" });
  client.publish({ destination: "/queue/js", headers: { kind: "text" }, body: "grüße\n:\\" });
  client.publish({
    destination: "/queue/js", headers: { kind: "bytes" }, binaryBody: new Uint8Array([0, 255, 10]),
  });
  const transaction = client.begin();
  client.publish({
    destination: "/queue/js", headers: { kind: "in a transaction", transaction: transaction.id },
    body: "x",
  });
  transaction.commit();
  client.publish({ destination: "/queue/js", headers: { kind: "last" }, body: "" });
};

async function end() {
  await client.deactivate();
  console.log(JSON.stringify(got));
  process.exit(0);
}

client.activate();
