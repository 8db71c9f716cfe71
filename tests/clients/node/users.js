// What each client gets that logs in: a reply, what is refused, and why it does not come in.
const [host, port, name, other, username, password] = process.argv.slice(2)
const told = async work => { try { return await work } catch (error) { return error.message } }
async function ioredis() {
  const Redis = require('ioredis')
  const options = { host, port: Number(port), username, lazyConnect: true, retryStrategy: null }
  const client = new Redis({ ...options, password }), wrong = new Redis({ ...options, password: 'no' })
  wrong.on('error', () => {})
  await client.connect()
  const seen = [await client.publish(name, '1'), await told(client.publish(other, '1'))]
  client.disconnect()
  await told(wrong.connect())
  seen.push(await told(wrong.publish(name, '1')))
  wrong.disconnect()
  return seen
}
async function nodeRedis() {
  const { createClient } = require('redis')
  const socket = { host, port: Number(port), reconnectStrategy: false }
  const client = createClient({ username, password, socket })
  const wrong = createClient({ username, password: 'no', socket })
  wrong.on('error', () => {})
  await client.connect()
  const seen = [await client.publish(name, '1'), await told(client.publish(other, '1'))]
  await client.quit()
  seen.push(await told(wrong.connect()))
  return seen
}
(async () => { console.log(JSON.stringify([await ioredis(), await nodeRedis()])) })()
