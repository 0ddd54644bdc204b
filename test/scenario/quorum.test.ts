import { describe, expect, it, vi } from 'vitest'
import { defaultCodec } from '../../lib/codec/values.ts'
import type { Mesh } from '../../lib/mesh.ts'
import { Copies } from '../../lib/replication/copies.ts'
import type { Cluster } from '../../lib/testing.ts'
import { copy, keysHeldBy, loseLinksTo, storesOf, withoutStreams } from './copied.ts'
import { errorOf, formed, mesh } from './story.ts'

withoutStreams()

const declare = (member: Mesh): unknown => member.cache('products', { ttl: '1h', backups: 2 })
const NEWER = { stamp: Number.MAX_SAFE_INTEGER - 1, writer: 'member-9' }

/** Five members; `key` is held by 0, 1 and 2, and these of the two backups have it. */
async function copied(seed: number, holders: readonly number[], start: (member: Mesh) => unknown = declare) {
  const t: Cluster = await formed(5, { seed, start })
  const stores = await storesOf(t)
  const [key] = keysHeldBy(t, 1, 0, 1, 2) as [string]
  await t.until(mesh(t, 0).cache<string>('products').set(key, 'v1'))
  for (const holder of holders) copy(stores[0] as never, stores[holder] as never, key)
  const read = (by: number) => mesh(t, by).cache<string>('products').getEntry(key, { from: 'quorum' })
  return { t, stores, key, read }
}

describe('a read by majority', () => {
  it('answers with the latest version that a majority has, although its owner has an older one', async () => {
    const { t, stores, key, read } = await copied(501, [1, 2])
    for (const backup of [1, 2])
      copy(stores[0] as never, stores[backup] as never, key, { version: NEWER, bytes: bytesOf('v2') })
    for (const by of [0, 3]) expect(await t.until(read(by))).toMatchObject({ value: 'v2', from: 'backup' })
    expect(await t.until(mesh(t, 0).cache('products').get(key, { from: 'quorum' }))).toBe('v2')
    // By then the owner has been sent it, and the usual read believes the owner.
    expect(await t.until(mesh(t, 3).cache('products').get(key))).toBe('v2')
  })

  it('is a miss where the latest is a delete, and where nobody has anything', async () => {
    const { t, stores, key, read } = await copied(502, [1, 2])
    for (const backup of [1, 2])
      copy(stores[0] as never, stores[backup] as never, key, {
        version: NEWER,
        kind: 'tombstone',
        bytes: new Uint8Array(0)
      })
    expect(await t.until(read(3))).toBeUndefined()
    expect(await t.until(mesh(t, 3).cache('products').get('never', { from: 'quorum' }))).toBeUndefined()
  })

  it('needs a majority, whoever that is, and says how many have answered where there is none', async () => {
    const { t, read } = await copied(503, [1, 2])
    loseLinksTo(t, 0)
    await t.run(5)
    expect(await t.until(read(3))).toMatchObject({ value: 'v1', from: 'backup' })
    t.pause(1)
    const error = await errorOf(t, read(3))
    expect(error.code).toBe('ERR_MESH_UNAVAILABLE')
    expect(error.message).toContain('Expected 2 of the members')
    expect(error.message).toContain('got 1 of 3')
  })

  it('is what each of many keys is read by', async () => {
    const { t, stores, key } = await copied(504, [1, 2])
    for (const backup of [1, 2])
      copy(stores[0] as never, stores[backup] as never, key, { version: NEWER, bytes: bytesOf('v2') })
    const cache = mesh(t, 3).cache<string>('products')
    expect(await t.until(cache.getMany([key, 'never'], { from: 'quorum' }))).toEqual(['v2', undefined])
  })

  it('has a loader run at the owner where a majority has nothing', async () => {
    const start = (member: Mesh): unknown => member.cache('products', { ttl: '1h', backups: 2, load: () => 'loaded' })
    const { t } = await copied(505, [], start)
    const entry = await t.until(mesh(t, 3).cache<string>('products').getEntry('other', { from: 'quorum' }))
    expect(entry).toMatchObject({ value: 'loaded', from: 'load' })
  })

  it('is not asked for by another word', async () => {
    const { t, key } = await copied(506, [])
    const options = { from: 'majority' as never }
    const error = await errorOf(t, mesh(t, 0).cache('products').get(key, options))
    expect(error.message).toBe(
      "Expected from of get of cache 'products' to be 'near', 'owner' or 'quorum', got 'majority' (string)."
    )
  })

  it('is believed by the reader from then on: a copy that is older does not answer', async () => {
    const { t, stores, key, read } = await copied(507, [1, 2])
    copy(stores[0] as never, stores[2] as never, key, { version: NEWER, bytes: bytesOf('v2') })
    // What the read brings to those that have less does not arrive.
    vi.spyOn(Copies.prototype, 'receive').mockReturnValue({
      type: 'copied',
      viewHash: 0,
      refused: [],
      differing: [],
      floors: []
    })
    loseLinksTo(t, 0)
    await t.run(5)
    expect(await t.until(read(3))).toMatchObject({ value: 'v2' })
    for (const by of [3, 4]) {
      const value = await t.until(mesh(t, by).cache('products').get(key))
      expect([by, value]).toEqual([by, by === 3 ? 'v2' : 'v1'])
    }
  })
})

/** A text as it is stored. */
function bytesOf(text: string): Uint8Array {
  return defaultCodec.encode(text, { cache: 'products', key: '' })
}
