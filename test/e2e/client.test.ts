/** A member that nobody can dial: it dials, owns nothing, and uses the mesh like everybody else. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { addressOf, allReady, type MemberProcess, Processes, until } from './processes.ts'

const PARTITIONS = 16_384

let processes: Processes

beforeEach(() => {
  processes = new Processes()
})

afterEach(() => processes.end())

describe('a client that only dials', () => {
  it('owns nothing, is seen by all, and reads and writes through them', async () => {
    const { members, clients } = await meshWithClients(1)
    const [client] = clients
    const seen = await Promise.all(members.map(member => member.ask('members')))
    for (const view of seen) {
      expect(view.filter(each => each.weight === 0).map(each => each.addresses)).toEqual([[]])
    }
    expect((await client?.ask('stats'))?.partitionsOwned).toBe(0)
    const owned = await Promise.all(members.map(async member => (await member.ask('stats')).partitionsOwned))
    expect(owned.reduce((sum, each) => sum + each, 0)).toBe(PARTITIONS)

    for (let i = 0; i < 20; i++) await client?.ask('set', `note ${i}`, `text ${i}`)
    const keys = Array.from({ length: 20 }, (_, i) => `note ${i}`)
    const read = await members[0]?.ask('read', { how: 'getMany', cache: 'plain', keys, times: 1 })
    expect(read).toEqual({ [JSON.stringify({ value: keys.map((_, i) => `text ${i}`) })]: 1 })

    // A member's value is read and not loaded again; what is cold is loaded by its owner, not by the client.
    await members[0]?.ask('read', { how: 'get', keys: ['warm'], times: 1 })
    await client?.ask('read', { how: 'get', keys: ['warm'], times: 100 })
    await client?.ask('read', { how: 'getMany', keys: ['cold 1', 'cold 2', 'cold 3'], times: 100 })
    expect(processes.loads.map(load => load.key).sort()).toEqual(['cold 1', 'cold 2', 'cold 3', 'warm'])
    expect(processes.loads.map(load => load.pid)).not.toContain(client?.pid)
    expect((await client?.ask('stats'))?.records).toBe(0)
  })

  it('finds two of its kind, which no address could lead to', async () => {
    const { members, clients } = await meshWithClients(2)
    for (const process of [...members, ...clients]) expect((await process.ask('members')).length).toBe(5)
  })

  it('lives on when the member that it found first dies', async () => {
    const { members, clients } = await meshWithClients(1)
    const [first, ...others] = members as [MemberProcess, ...MemberProcess[]]
    const [client] = clients as [MemberProcess]
    const keys = Array.from({ length: 50 }, (_, i) => `product ${i}`)
    await client.ask('startReading', keys)
    await first.kill()
    const goneMs = await until('the dead one is gone from the view of the client', 3_000, async () => {
      return (await client.ask('members')).length === 3
    })
    await allReady([client, ...others], 3)
    const before = processes.loads.length
    await client.ask('read', { how: 'getMany', keys, times: 1 })
    const { reads, failures } = await client.ask('stopReading')
    console.log(`a client saw that its seed was dead after ${Math.round(goneMs)} ms; ${reads} reads`)
    expect(failures).toEqual([])
    expect(processes.loads.slice(before).map(load => load.pid)).not.toContain(client.pid)
  })
})

/** Three members and, dialling one of them, some clients. */
async function meshWithClients(count: number): Promise<{ members: MemberProcess[]; clients: MemberProcess[] }> {
  const members = await processes.mesh(3, { name: 'shop' })
  const seed = await addressOf(members[0] as MemberProcess)
  const plan = { name: 'shop', listen: false, seeds: [seed] } as const
  const clients = await Promise.all(Array.from({ length: count }, () => processes.member(plan)))
  await allReady([...members, ...clients], 3 + count)
  return { members, clients }
}
