// @platformatic/kafka against a broker: node platformatic.js HOST:PORT. One line a check; stops at the
// first that fails.

const { dirname, join } = require('node:path')
const { Admin, ConfigResourceTypes, Consumer, IncrementalAlterConfigOperationTypes, Producer } = require('@platformatic/kafka')
const { EARLIEST, LATEST, POLL_MS, run, sleep } = require('./facts.js')

const common = { clientId: 'compat', bootstrapBrokers: [process.argv[2]], retries: 20, retryDelay: 100 }
const admin = new Admin(common)
let readers = 0

async function produce (topic, records, { acks, codec, idempotent = false }) {
  const producer = new Producer({ ...common, idempotent })
  const messages = records.map(r => ({
    topic,
    key: r.key ?? undefined,
    value: r.value ?? undefined,
    headers: new Map(r.headers.map(([name, value]) => [Buffer.from(name), value])),
    timestamp: r.time && BigInt(r.time)
  }))
  await producer.send({ messages, acks, compression: codec })
  await producer.close()
}

async function consumer (topic, groupId, groupInstanceId, start) {
  const inner = new Consumer({
    ...common, groupId, groupInstanceId, sessionTimeout: 6000, heartbeatInterval: 500, rebalanceTimeout: 10_000,
    maxWaitTime: POLL_MS, autocommit: false
  })
  let rebalances = 0
  inner.on('consumer:group:join', () => { rebalances++ })
  const stream = await inner.consume({ topics: [topic], ...await start(inner) })
  let queue = []
  const next = new Map()
  // A static member that was replaced is told so; the checks see whatever else goes wrong.
  stream.on('error', () => {})
  stream.on('data', message => {
    queue.push({
      key: message.key ?? null,
      value: message.value ?? null,
      headers: message.headerEntries.map(([name, value]) => [String(name), value])
    })
    next.set(message.partition, { topic, partition: message.partition, offset: message.offset + 1n, leaderEpoch: message.leaderEpoch })
  })
  const assigned = () => (inner.assignments ?? []).filter(a => a.topic === topic).flatMap(a => a.partitions).toSorted()
  return {
    async poll () {
      await sleep(POLL_MS)
      const got = queue
      queue = []
      return got
    },
    assigned,
    rebalances: () => rebalances,
    commit: () => inner.commit({ offsets: [...next.values()].filter(o => assigned().includes(o.partition)) }),
    close: () => inner.close(true)
  }
}

function read (topic, partitions, { offset, time }) {
  const start = async inner => {
    if (offset === EARLIEST) return { mode: 'earliest' }
    if (offset === LATEST) return { mode: 'latest' }
    const found = time && await inner.listOffsets({ topics: [topic], timestamp: BigInt(time) })
    const at = partition => (time ? found.get(topic)[partition] : BigInt(offset))
    const offsets = Array.from({ length: partitions }, (_, partition) => ({ topic, partition, offset: at(partition) }))
    return { mode: 'manual', offsets }
  }
  return consumer(topic, `reader-${readers++}`, undefined, start)
}

run({
  name: '@platformatic/kafka',
  version: require(join(dirname(require.resolve('@platformatic/kafka')), '../package.json')).version,
  closeLeaves: true,
  produce,
  read,
  join: (group, instance, from) => consumer('shared', group, instance, async () => ({
    mode: 'committed', fallbackMode: from === EARLIEST ? 'earliest' : 'latest'
  })),
  createTopic: (topic, partitions, configs) => admin.createTopics({
    topics: [topic], partitions, replicas: 1, configs: Object.entries(configs).map(([name, value]) => ({ name, value }))
  }),
  topics: () => admin.listTopics(),
  async partitions (topic) {
    return (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic).partitionsCount
  },
  async config (resourceName, key) {
    const resources = [{ resourceType: ConfigResourceTypes.TOPIC, resourceName, configurationKeys: [key] }]
    return (await admin.describeConfigs({ resources }))[0].configs[0].value
  },
  setConfig: (resourceName, name, value) => admin.incrementalAlterConfigs({
    resources: [{
      resourceType: ConfigResourceTypes.TOPIC,
      resourceName,
      configs: [{ name, value, configOperation: IncrementalAlterConfigOperationTypes.SET }]
    }]
  }),
  deleteTopic: topic => admin.deleteTopics({ topics: [topic] }),
  async offset (name, at) {
    const topics = [{ name, partitions: [{ partitionIndex: 0, timestamp: BigInt(at) }] }]
    return (await admin.listOffsets({ topics }))[0].partitions[0].offset
  }
})
