// stompit over TCP: sends, subscribes, acknowledges; says as JSON what it got. Words: host, port.
const stompit = require("stompit");
const [host, port] = process.argv.slice(2);

stompit.connect({
  host, port: Number(port),
  connectHeaders: { host: "/", login: "guest", passcode: "guest", "heart-beat": "5000,5000" },
}, (error, client) => {
  if (error) throw error;
  const frame = client.send({ destination: "/queue/it", "content-type": "text/plain" });
  frame.write("hello");
  frame.end();
  client.subscribe({ destination: "/queue/it", ack: "client-individual" }, (error, message) => {
    if (error) throw error;
    message.readString("utf-8", (error, body) => {
      if (error) throw error;
      client.ack(message);
      client.disconnect((error) => {
        if (error) throw error;
        console.log(JSON.stringify([message.headers["content-type"], body]));
      });
    });
  });
});
