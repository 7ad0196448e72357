// KafkaJS against a broker: node kafkajs.js HOST:PORT. One line a check; stops at the first that fails.

const { zstdCompressSync, zstdDecompressSync } = require('node:zlib')
const kafkajs = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const { EARLIEST, LATEST, POLL_MS, run, sleep } = require('./facts.js')

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs
const { version } = require('kafkajs/package.json')
// The client brings gzip; the others are plugged in, as its documentation says.
const codec = (compress, decompress) => () => ({
  compress: async encoder => compress(encoder.buffer),
  decompress: async buffer => decompress(buffer)
})
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = codec(b => lz4.compressFrameSync(b), b => lz4.decompressFrameSync(b))
CompressionCodecs[CompressionTypes.ZSTD] = codec(zstdCompressSync, zstdDecompressSync)
const codecs = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD
}

const kafka = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.NOTHING, retry: { retries: 20, maxRetryTime: 500 } })
const admin = kafka.admin()
let readers = 0

async function produce (topic, records, { acks, codec, idempotent = false }) {
  const producer = kafka.producer({ idempotent, createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
  await producer.connect()
  const messages = records.map(r => {
    const headers = {}
    for (const [name, value] of r.headers) (headers[name] ??= []).push(value)
    return { key: r.key, value: r.value, headers, timestamp: r.time && String(r.time) }
  })
  await producer.send({ topic, acks, compression: codecs[codec], messages })
  await producer.disconnect()
}

async function consumer (topic, groupId, fromBeginning, seeks = []) {
  const inner = kafka.consumer({
    groupId, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: POLL_MS, rebalanceTimeout: 10_000
  })
  let queue = []
  let assigned = []
  let rebalances = 0
  const next = new Map()
  let joined
  const ready = new Promise(done => { joined = done })
  inner.on(inner.events.GROUP_JOIN, ({ payload }) => {
    assigned = payload.memberAssignment[topic] ?? []
    rebalances++
    joined()
  })
  await inner.connect()
  await inner.subscribe({ topic, fromBeginning })
  await inner.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      const headers = Object.entries(message.headers).flatMap(([k, v]) => [v].flat().map(each => [k, each]))
      queue.push({ key: message.key, value: message.value, headers })
      next.set(partition, BigInt(message.offset) + 1n)
    }
  })
  for (const { partition, offset } of seeks) inner.seek({ topic, partition, offset: String(offset) })
  await ready
  return {
    async poll () {
      await sleep(POLL_MS)
      const got = queue
      queue = []
      return got
    },
    assigned: () => assigned.toSorted(),
    rebalances: () => rebalances,
    commit: () => inner.commitOffsets([...next].filter(([partition]) => assigned.includes(partition))
      .map(([partition, offset]) => ({ topic, partition, offset: String(offset) }))),
    close: () => inner.disconnect()
  }
}

async function read (topic, partitions, { offset, time }) {
  let seeks = []
  if (time !== undefined) seeks = await admin.fetchTopicOffsetsByTimestamp(topic, time)
  else if (offset >= 0) seeks = Array.from({ length: partitions }, (_, partition) => ({ partition, offset }))
  return consumer(topic, `reader-${readers++}`, offset === EARLIEST, seeks)
}

admin.connect().then(() => run({
  name: 'kafkajs',
  version,
  withoutStatic: true,
  produce,
  read,
  join: (group, _, from) => consumer('shared', group, from === EARLIEST),
  createTopic: (topic, numPartitions, configs) => admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic, numPartitions, configEntries: Object.entries(configs).map(([name, value]) => ({ name, value })) }]
  }),
  topics: () => admin.listTopics(),
  async partitions (topic) {
    return (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
  },
  async config (name, key) {
    const resources = [{ type: ConfigResourceTypes.TOPIC, name, configNames: [key] }]
    return (await admin.describeConfigs({ resources })).resources[0].configEntries[0].configValue
  },
  setConfig: (name, key, value) => admin.alterConfigs({
    resources: [{ type: ConfigResourceTypes.TOPIC, name, configEntries: [{ name: key, value }] }]
  }),
  deleteTopic: topic => admin.deleteTopics({ topics: [topic] }),
  async offset (topic, at) {
    if (at >= 0) return (await admin.fetchTopicOffsetsByTimestamp(topic, at))[0].offset
    const [offsets] = await admin.fetchTopicOffsets(topic)
    return at === LATEST ? offsets.high : offsets.low
  }
}))
