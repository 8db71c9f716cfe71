const host = process.argv[2], port = Number(process.argv[3]), name = process.argv[4]
// With these by TLS: the file of the authority that is trusted, who it is, and the password.
const [ca, username, password] = process.argv.slice(5)
const trusted = ca && require('fs').readFileSync(ca)
async function ioredis() {
  const Redis = require('ioredis')
  const login = ca ? { username, password, tls: { ca: trusted } } : {}
  const listener = new Redis(port, host, login), publisher = new Redis(port, host, login)
  const got = []
  const all = new Promise(done => {
    listener.on('message', (channel, text) => { got.push(text); if (got.length == 3) done() })
  })
  await listener.subscribe(name)
  const counts = []
  for (const text of ['1', '2', '3']) counts.push(await publisher.publish(name, text))
  await all
  listener.disconnect(); publisher.disconnect()
  return [got, counts]
}
async function nodeRedis() {
  const { createClient } = require('redis')
  const socket = ca ? { host, port, tls: true, ca: trusted } : { host, port }
  const publisher = createClient({ socket, username, password }), listener = publisher.duplicate()
  await publisher.connect(); await listener.connect()
  const got = []
  let finish
  const all = new Promise(done => { finish = done })
  await listener.pSubscribe(name + '*', text => { got.push(text); if (got.length == 3) finish() })
  const counts = []
  for (const text of ['1', '2', '3']) counts.push(await publisher.publish(name, text))
  await all
  await listener.quit(); await publisher.quit()
  return [got, counts]
}
(async () => { console.log(JSON.stringify([await ioredis(), await nodeRedis()])) })()
