// Parses packets and writes them again: hex lines in, hex lines out; "" where it takes none.
const { parser, generate } = require("mqtt-packet");
const readline = require("readline");

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [version, hex] = line.split(" ");
  const options = { protocolVersion: Number(version) };
  const reader = parser(options);
  const found = [];
  let failed = "";
  reader.on("packet", (packet) => found.push(packet));
  reader.on("error", (error) => { failed = error.message; });
  try {
    reader.parse(Buffer.from(hex, "hex"));
    const out = failed ? [] : found.map((packet) => generate(packet, options));
    console.log(Buffer.concat(out).toString("hex"));
  } catch (error) {
    failed = error.message;
    console.log("");
  }
  if (failed) console.error(`${hex}: ${failed}`);
});
