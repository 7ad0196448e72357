// What the Node programs share: the checks that a client has to pass, one line each. A program ends
// with the first check that fails. A client is an object with the methods that `run` calls; a record
// is { key, value, headers, time } with buffers, null for null, and headers as pairs.

const { isDeepStrictEqual } = require('node:util')

const LATEST = -1
const EARLIEST = -2
const POLL_MS = 100
const PATIENCE_MS = 60_000
const MADE = Math.floor(Date.now() / 1000 - 3600) * 1000

const sleep = ms => new Promise(done => setTimeout(done, ms))
const buffer = text => (text === null ? null : Buffer.from(text))
const record = (key, value) => ({ key: buffer(key), value: buffer(value), headers: [] })
const HEADERS = [['first', buffer('1')], ['second', Buffer.from([0, 255])], ['first', buffer('again')]]
const records = count =>
  Array.from({ length: count }, (_, i) => ({ ...record(`key-${i % 50}`, `value-${i}`), headers: HEADERS }))
const late = record('k', 'made while a consumer waits at the end')
const usual = { acks: -1, codec: 'none' }

let name

function check (what, ok, seen) {
  console.log(`${name}: ${ok ? 'ok' : 'FAILED'}: ${what}`)
  if (!ok) {
    console.error('saw', seen)
    process.exit(1)
  }
}

const pairs = all => all.map(r => [r.key, r.value])

// Partitions come in any order, the records of a key in theirs.
function same (got, wanted) {
  const sorted = all => pairs(all).sort((a, b) => Buffer.compare(a[0] ?? buffer(''), b[0] ?? buffer('')))
  return isDeepStrictEqual(sorted(got), sorted(wanted))
}

async function within (turn) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end;) {
    if (await turn()) return true
  }
  return false
}

async function drain (count, ...members) {
  const got = members.map(() => [])
  await within(async () => {
    for (const [i, member] of members.entries()) got[i].push(...await member.poll())
    return got.flat().length >= count
  })
  return got
}

async function read (client, topic, partitions, count, from) {
  const consumer = await client.read(topic, partitions, from)
  const [got] = await drain(count, consumer)
  await consumer.close()
  return got
}

async function run (client) {
  name = client.name
  console.log(`${name}: version: ${client.version}`)
  await producing(client)
  await consuming(client)
  await groups(client)
  if (client.withoutStatic) console.log(`${name}: none: static member`)
  else await staticMembers(client)
  await administration(client)
  process.exit(0)
}

async function producing (client) {
  const trip = async (what, topic, wanted, how) => {
    await client.createTopic(topic, 4, {})
    await client.produce(topic, wanted, how)
    const got = await read(client, topic, 4, wanted.length, { offset: EARLIEST })
    check(what, same(got, wanted), pairs(got).slice(0, 3))
    return got
  }
  let got
  for (const acks of [0, 1, -1]) {
    const shown = acks < 0 ? 'all' : acks
    got = await trip(`acks ${shown}`, `acks-${shown}`, records(500), { acks, codec: 'none' })
  }
  const byName = headers => [...headers].sort((a, b) => Buffer.compare(buffer(a[0]), buffer(b[0])))
  const wanted = byName(HEADERS)
  check('keys and headers', got.every(r => isDeepStrictEqual(byName(r.headers), wanted)), got[0])
  for (const codec of ['gzip', 'snappy', 'lz4', 'zstd']) await trip(codec, codec, records(500), { acks: -1, codec })
  await trip('null values', 'nulls', [record('k', null), record(null, 'v')], usual)
  await trip('empty records', 'empty', [record('', ''), record('k', '')], usual)
  await trip('900 kB records', 'large', [{ ...record('k', ''), value: large() }], usual)
  await trip('idempotent producer', 'idempotent', records(500), { ...usual, idempotent: true })
}

function large () {
  const bytes = Buffer.alloc(900_000)
  for (let i = 0, x = 1; i < bytes.length; i++) bytes[i] = (x = (x * 1103515245 + 12345) % 2147483648) >> 16
  return bytes
}

async function consuming (client) {
  const timed = records(10).map((r, i) => ({ ...r, key: buffer('k'), time: MADE + i * 1000 }))
  await client.createTopic('timed', 1, {})
  await client.produce('timed', timed, usual)
  let got = await read(client, 'timed', 1, 10, { offset: EARLIEST })
  check('from the earliest', same(got, timed), pairs(got))
  got = await read(client, 'timed', 1, 3, { offset: 7 })
  check('from an offset', same(got, timed.slice(7)), pairs(got))
  got = await read(client, 'timed', 1, 5, { time: MADE + 4500 })
  check('by timestamp', same(got, timed.slice(5)), pairs(got))
  const consumer = await client.read('gzip', 4, { offset: LATEST })
  await within(async () => {
    await client.produce('gzip', [late], usual)
    got = await consumer.poll()
    return got.length > 0
  })
  await consumer.close()
  check('from the latest', got.length > 0 && got.every(r => same([r], [late])), pairs(got))
}

// Polls until the members have so many partitions each; no record may come meanwhile.
function share (wanted, ...members) {
  return within(async () => {
    for (const member of members) {
      const got = await member.poll()
      if (got.length > 0) check('no record comes twice while members come and go', false, pairs(got))
    }
    return members.every((member, i) => member.assigned().length === wanted[i])
  })
}

async function groups (client) {
  await client.createTopic('shared', 4, {})
  await client.produce('shared', records(500), usual)
  const one = await client.join('group', undefined, EARLIEST)
  let got = await drain(500, one)
  check('join: a group of one reads everything', same(got[0], records(500)), got[0].length)
  await one.commit()
  const two = await client.join('group', undefined, EARLIEST)
  check('rebalance: a second member gets its part', await share([2, 2], one, two))
  await client.produce('shared', records(500), usual)
  got = await drain(500, one, two)
  const each = got.every(part => part.length > 0) && same(got.flat(), records(500))
  check('rebalance: each record comes to one of two members', each, got.map(part => part.length))
  await one.commit()
  await two.commit()
  await two.close()
  check('leave: the first member gets everything back', await share([4], one))
  await one.close()
  await client.produce('shared', records(100), usual)
  const again = await client.join('group', undefined, EARLIEST)
  const [rest] = await drain(100, again)
  check('commit and resume', same(rest, records(100)), rest.length)
  await again.close()
}

// A member of a client whose close always leaves the group is replaced without being closed.
async function staticMembers (client) {
  const a = await client.join('static', 'a', LATEST)
  let b = await client.join('static', 'b', LATEST)
  check('static member: each has its part', await share([2, 2], a, b), [a.assigned(), b.assigned()])
  const before = a.rebalances()
  const mine = b.assigned()
  if (!client.closeLeaves) await b.close()
  b = await client.join('static', 'b', LATEST)
  check('static member: each has its part again', await share([2, 2], a, b), [a.assigned(), b.assigned()])
  const stays = isDeepStrictEqual(b.assigned(), mine) && a.rebalances() === before
  check('static member: comes back to its partitions without a rebalance', stays,
    [mine, b.assigned(), before, a.rebalances()])
}

async function administration (client) {
  await client.createTopic('made', 3, { 'retention.ms': '1000000' })
  await within(async () => await client.partitions('made') > 0)
  check('create topic', await client.partitions('made') === 3)
  check('describe', await client.config('made', 'retention.ms') === '1000000')
  await client.setConfig('made', 'retention.ms', '2000000')
  check('alter configs', await client.config('made', 'retention.ms') === '2000000')
  const offsets = []
  for (const at of [EARLIEST, LATEST, MADE + 1000]) offsets.push(Number(await client.offset('timed', at)))
  check('list offsets', isDeepStrictEqual(offsets, [0, 10, 1]), offsets)
  await client.deleteTopic('made')
  check('delete topic', await within(async () => !(await client.topics()).includes('made')))
}

module.exports = { EARLIEST, LATEST, POLL_MS, run, sleep }
