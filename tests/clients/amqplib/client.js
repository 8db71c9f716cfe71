const assert = require('node:assert')
const amqp = require('amqplib')

const url = process.argv[2]

async function closedWith(connection, code, act) {
  const channel = await connection.createChannel()
  const closed = new Promise(done => channel.on('error', done))
  await assert.rejects(act(channel))
  assert.strictEqual((await closed).code, code)
}

async function main() {
  const connection = await amqp.connect(url)
  const channel = await connection.createConfirmChannel()
  await channel.assertExchange('node.events', 'topic')
  await channel.assertQueue('node.dead')
  await channel.assertQueue('node.mail', {
    maxPriority: 5, deadLetterExchange: '', deadLetterRoutingKey: 'node.dead'
  })
  await channel.bindQueue('node.mail', 'node.events', 'mail.#')
  for (const priority of [1, 5, 3]) {
    channel.publish('node.events', 'mail.new', Buffer.from(`${priority}`), { priority, persistent: true })
  }
  await channel.waitForConfirms()
  const returned = new Promise(done => channel.on('return', done))
  channel.publish('node.events', 'other', Buffer.from('x'), { mandatory: true })
  assert.strictEqual((await returned).fields.replyCode, 312)
  await channel.prefetch(1)
  const order = []
  await new Promise(async done => {
    await channel.consume('node.mail', message => {
      order.push(message.content.toString())
      if (order.length === 1) channel.nack(message, false, true)
      else if (order.length === 2) channel.reject(message, false)
      else channel.ack(message)
      if (order.length === 4) done()
    }, { consumerTag: 'c' })
  })
  assert.deepStrictEqual(order, ['5', '5', '3', '1'])
  await channel.cancel('c')
  const dead = await channel.get('node.dead', { noAck: true })
  assert.strictEqual(dead.properties.headers['x-death'][0].reason, 'rejected')

  await channel.assertQueue('node.rpc')
  const replied = new Promise(done => channel.consume('amq.rabbitmq.reply-to', done, { noAck: true }))
  await channel.consume('node.rpc', message => {
    channel.sendToQueue(message.properties.replyTo, Buffer.from('answer'))
  }, { noAck: true })
  channel.sendToQueue('node.rpc', Buffer.from('?'), { replyTo: 'amq.rabbitmq.reply-to' })
  assert.strictEqual((await replied).content.toString(), 'answer')

  await closedWith(connection, 404, it => it.checkQueue('node.no'))
  await closedWith(connection, 406, it => it.assertQueue('node.dead', { durable: false }))
  await connection.close()
  console.log('done')
}

main()
