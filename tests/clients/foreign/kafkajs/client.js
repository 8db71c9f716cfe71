// kafkajs: does what each line of JSON on standard input says, and answers each with one line; or,
// as `client.js ADDRESS member {...}`, is a group's member until its input ends.
'use strict'

const { readFileSync } = require('node:fs')
const readline = require('node:readline')
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = require('kafkajs')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrameSync(encoder.buffer),
  decompress: async (bytes) => lz4.decompressFrameSync(bytes),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async (bytes) => Buffer.from(zstd.decompress(bytes)),
})

const [address, word, settings] = process.argv.slice(2)

// How to log in, if that has to be; ca is a file.
function security({ mechanism, user, password, token, ca }) {
  const sasl = { mechanism: mechanism?.toLowerCase(), username: user, password }
  if (token) sasl.oauthBearerProvider = async () => ({ value: token })
  return { sasl: mechanism ? sasl : undefined, ssl: ca ? { ca: [readFileSync(ca)] } : false }
}

const kafka = new Kafka({
  ...security(JSON.parse(process.env.KAFKA_SECURITY ?? '{}')),
  brokers: [address],
  clientId: 'test',
  logLevel: logLevel.ERROR,
  logCreator: () => (entry) => process.stderr.write(JSON.stringify(entry) + '\n'),
})
const admin = kafka.admin()
const say = (told) => process.stdout.write(JSON.stringify(told) + '\n')
const text = (bytes) => (bytes === null || bytes === undefined ? null : bytes.toString())
const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

function message({ key = null, value = null, partition, timestamp, headers = [] }) {
  const made = { key, value, partition, headers: Object.fromEntries(headers) }
  return timestamp === undefined ? made : { ...made, timestamp: String(timestamp) }
}

function shown(message) {
  return {
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: text(message.key),
    value: text(message.value),
    headers: Object.entries(message.headers ?? {}).map(([key, value]) => [key, text(value)]),
  }
}

async function produce({ topic, records, compression = 'none', acks = 'all', idempotent = false, transactional }) {
  const client = kafka.producer({ idempotent, allowAutoTopicCreation: true, transactionalId: transactional })
  await client.connect()
  try {
    const producer = transactional ? await client.transaction() : client
    const offsets = []
    for (const part of chunks(records)) {
      const results = await producer.send({
        topic,
        messages: part.map(message),
        acks: acks === 'all' ? -1 : Number(acks),
        compression: CODECS[compression],
      })
      // One batch a partition is sent: its records stand behind each other.
      const next = new Map((results ?? []).map((it) => [it.partition, Number(it.baseOffset)]))
      for (const it of part) {
        const offset = next.get(it.partition ?? 0) ?? -1
        next.set(it.partition ?? 0, offset + (offset >= 0))
        offsets.push(offset)
      }
    }
    if (transactional) await producer.commit()
    return { offsets }
  } finally {
    await client.disconnect()
  }
}

function chunks(records) {
  const found = []
  for (let n = 0; n < records.length; n += 100) found.push(records.slice(n, n + 100))
  return found
}

let readers = 0

// There are no consumers outside of groups: one of its own, that never commits, is sought to the offset.
async function consume({ topic, partition = 0, offset = 0, count }) {
  const groupId = `reading-${process.pid}-${readers++}`
  const consumer = kafka.consumer({ groupId, rebalanceTimeout: 5000 })
  await consumer.connect()
  const found = []
  const enough = new Promise((resolve) => {
    setTimeout(resolve, 30_000).unref()
    consumer
      .subscribe({ topic, fromBeginning: true })
      .then(() =>
        consumer.run({
          autoCommit: false,
          eachMessage: async ({ partition: of, message }) => {
            if (of === partition && found.length < count) found.push(shown(message))
            if (found.length >= count) resolve()
          },
        })
      )
      .then(() => consumer.seek({ topic, partition, offset: String(offset) }))
  })
  await enough
  await consumer.disconnect()
  return { records: found }
}

async function assign({ topic }) {
  const consumer = kafka.consumer({ groupId: 'none' })
  await consumer.connect()
  try {
    await consumer.assign([{ topic, partition: 0 }])
    return {}
  } finally {
    await consumer.disconnect()
  }
}

const resource = (name) => ({ type: ConfigResourceTypes.TOPIC, name })

async function ends({ topic, partition = 0 }) {
  const found = (await admin.fetchTopicOffsets(topic)).find((it) => it.partition === partition)
  return { start: Number(found.low), end: Number(found.high) }
}

async function settingsOf({ topic }) {
  const { resources } = await admin.describeConfigs({ resources: [resource(topic)] })
  const entries = resources[0].configEntries
  return { settings: Object.fromEntries(entries.map((it) => [it.configName, [it.configValue, it.isDefault]])) }
}

// AlterConfigs replaces all that is set, so what stays is sent, too.
async function set({ topic, config }) {
  const { settings } = await settingsOf({ topic })
  const kept = Object.entries(settings).filter(([, [, isDefault]]) => !isDefault)
  const values = { ...Object.fromEntries(kept.map(([name, [value]]) => [name, value])), ...config }
  const configEntries = Object.entries(values)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => ({ name, value }))
  const resources = [{ ...resource(topic), configEntries }]
  await admin.alterConfigs({ validateOnly: false, resources })
  return {}
}

async function group({ group }) {
  const { groups } = await admin.describeGroups([group])
  const { AssignerProtocol } = require('kafkajs')
  const partitions = groups[0].members.flatMap(({ memberAssignment }) =>
    Object.values(AssignerProtocol.MemberAssignment.decode(memberAssignment)?.assignment ?? {}).flat()
  )
  return {
    state: groups[0].state,
    members: groups[0].members.length,
    partitions: partitions.sort(),
    assignor: groups[0].protocol,
  }
}

async function committed({ group }) {
  const [found] = await admin.fetchOffsets({ groupId: group })
  return { committed: Object.fromEntries(found.partitions.map((it) => [it.partition, Number(it.offset)])) }
}

const deeds = {
  produce,
  consume,
  assign,
  ends,
  set,
  group,
  committed,
  settings: settingsOf,
  nodes: async () => ({ nodes: (await admin.describeCluster()).brokers.map((it) => `${it.host}:${it.port}`) }),
  topics: async () => ({ topics: await admin.listTopics() }),
  create: async ({ topic, partitions = 1, config = {} }) => {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    const made = await admin.createTopics({ topics: [{ topic, numPartitions: partitions, configEntries }] })
    return made ? {} : { error: 'TOPIC_ALREADY_EXISTS: createTopics gave false' }
  },
  partitions: async ({ topic }) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    return { partitions: topics[0].partitions.length }
  },
  grow: async ({ topic, partitions }) => {
    await admin.createPartitions({ topicPartitions: [{ topic, count: partitions }] })
    return {}
  },
  delete: async ({ topic }) => {
    await admin.deleteTopics({ topics: [topic] })
    return {}
  },
  delete_records: async ({ topic, partition = 0, before }) => {
    await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] })
    return {}
  },
  offset_at: async ({ topic, partition = 0, timestamp }) => {
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, timestamp)
    return { offset: Number(found.find((it) => it.partition === partition).offset) }
  },
  groups: async () => ({ groups: (await admin.listGroups()).groups.map((it) => it.groupId).sort() }),
  reset: async ({ group, topic, partition = 0, offset }) => {
    await admin.setOffsets({ groupId: group, topic, partitions: [{ partition, offset: String(offset) }] })
    return {}
  },
  delete_group: async ({ group }) => {
    await admin.deleteGroups([group])
    return {}
  },
}

// Transactional producers, each known by its id, step by step; two of one id are told apart by `as`.
const producers = new Map()
const one = (told) => producers.get(told.as ?? told.id)

function transactional({ id, timeout_ms: transactionTimeout = 60_000 }) {
  return kafka.producer({ transactionalId: id, idempotent: true, maxInFlightRequests: 1, transactionTimeout })
}

Object.assign(deeds, {
  tx_init: async (told) => {
    const producer = transactional(told)
    await producer.connect()
    const first = await producer.transaction() // it asks for its id with the first one
    await first.abort()
    producers.set(told.as ?? told.id, { producer })
    return {}
  },
  tx_begin: async (told) => {
    one(told).transaction = await one(told).producer.transaction()
    return {}
  },
  tx_send: async (told) => {
    const offsets = []
    for (const it of told.records) {
      const [{ baseOffset }] = await one(told).transaction.send({ topic: told.topic, acks: -1, messages: [message(it)] })
      offsets.push(Number(baseOffset))
    }
    return { offsets }
  },
  tx_offsets: async (told) => {
    const partitions = [{ partition: told.partition ?? 0, offset: String(told.offset) }]
    await one(told).transaction.sendOffsets({ consumerGroupId: told.group, topics: [{ topic: told.topic, partitions }] })
    return {}
  },
  tx_end: async (told) => {
    await (told.commit ? one(told).transaction.commit() : one(told).transaction.abort())
    return {}
  },
  tx_close: async (told) => {
    await one(told).producer.disconnect()
    producers.delete(told.as ?? told.id)
    return {}
  },
  // Consume, transform, produce: until so many records of a topic are copied.
  tx_copy: async (told) => {
    const consumer = kafka.consumer({ groupId: told.group, readUncommitted: false })
    const producer = transactional(told)
    await producer.connect()
    await consumer.connect()
    await consumer.subscribe({ topic: told.from, fromBeginning: true })
    let left = told.count
    let transactions = 0
    await new Promise((resolve, reject) => {
      setTimeout(resolve, 40_000).unref()
      consumer.run({
        autoCommit: false,
        eachBatch: async ({ batch, resolveOffset }) => {
          const transaction = await producer.transaction()
          const messages = batch.messages.map((it) => ({ partition: batch.partition, key: it.key, value: `copied ${it.value}` }))
          await transaction.send({ topic: told.into, acks: -1, messages })
          const offset = String(Number(batch.messages.at(-1).offset) + 1)
          const partitions = [{ partition: batch.partition, offset }]
          await transaction.sendOffsets({ consumerGroupId: told.group, topics: [{ topic: told.from, partitions }] })
          await transaction.commit()
          for (const it of batch.messages) resolveOffset(it.offset)
          left -= messages.length
          transactions++
          if (left <= 0) resolve()
        },
      }).catch(reject)
    })
    await consumer.disconnect()
    await producer.disconnect()
    return { left, transactions }
  },
})

// Under the names of several wrappers stands what the server said.
function innermost(error) {
  const inner =
    error.errors?.[0] ?? error.groups?.[0] ?? error.partitions?.find((it) => it.error)?.error ??
    error.cause ?? error.originalError
  return inner ? innermost(inner) : `${error.type ?? error.name}: ${error.message}`
}

async function listen() {
  await zstd.init()
  await admin.connect()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const told = JSON.parse(line)
    try {
      say(await deeds[told.do](told))
    } catch (error) {
      say({ error: innermost(error) })
    }
  }
  await admin.disconnect()
}

async function member({ topic, group, pattern }) {
  await zstd.init()
  const consumer = kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 500, metadataMaxAge: 1000 })
  let held = []
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    say({ revoked: held })
    held = payload.memberAssignment[topic] ?? []
    say({ assigned: held })
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [pattern ? new RegExp(pattern) : topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch: { topic, partition, messages } }) => {
      say({ records: messages.map((it) => [partition, Number(it.offset), text(it.value)]) })
      const offset = String(Number(messages.at(-1).offset) + 1)
      try {
        await consumer.commitOffsets([{ topic, partition, offset }])
        say({ committed: { [partition]: Number(offset) } })
      } catch (error) {
        process.stderr.write(`not committed: ${innermost(error)}\n`) // the next heartbeat finds out why
      }
    },
  })
  for await (const _ of process.stdin) continue
  await consumer.disconnect()
  say({ ended: true })
}

if (word === 'member') member(JSON.parse(settings))
else listen()
