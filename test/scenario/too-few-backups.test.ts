/**
 * What a caller meets whose change was made and is held by too few backups. The owners answer so here whatever they
 * have; when they do is theirs to know.
 */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { BackupsError, type PartialError } from '../../lib/base/errors.ts'
import { type Call, Client } from '../../lib/rpc/client.ts'
import type { Reply } from '../../lib/rpc/messages.ts'
import type { Cluster } from '../../lib/testing.ts'
import { cacheOf, Rows } from './rows.ts'
import { errorOf, formed, keyOf, mesh } from './story.ts'

afterEach(() => void vi.restoreAllMocks())

function short(reply: Reply): Reply {
  const isMade = reply.type === 'written' || reply.type === 'removed' || (reply.type === 'compared' && reply.done)
  if (!isMade) return reply
  const { stamp, writer, taken } = reply
  return { type: 'unacked', stamp, writer, taken, acked: 0, wanted: 1, missing: ['member-9'] }
}

/** From now on no change at another member gets its acknowledgement. */
function noBackupAnswers(): void {
  const { call } = Client.prototype
  vi.spyOn(Client.prototype, 'call').mockImplementation(function (this: Client, ...terms): Call {
    const open = call.apply(this, terms)
    return { ...open, reply: open.reply.then(short) }
  })
}

async function story(
  seed: number,
  o: { behind?: boolean; without?: number } = {}
): Promise<{ t: Cluster; origin: Rows }> {
  const origin = new Rows()
  const t = await formed(2, {
    seed,
    start: (member, index) => {
      const store = index === o.without ? undefined : origin.store(index)
      const writeBehind = o.behind && store !== undefined
      member.cache<unknown, string>('products', { ttl: '1h', load: origin.load(), store, writeBehind })
      member.cache('plain', { ttl: '1h' })
    }
  })
  origin.within(t)
  return { t, origin }
}

describe('with too few backups', () => {
  it('of many writes those that are short are told, each at its place', async () => {
    const { t } = await story(8100)
    const plain = mesh(t, 0).cache<number>('plain')
    const [here, there] = [keyOf(t, 0, { cache: 'plain' }), keyOf(t, 1, { cache: 'plain' })]
    noBackupAnswers()
    const error = (await errorOf(t, plain.setMany([[here, 1], [there, 2]]))) as PartialError // biome-ignore format: short
    expect(error.code).toBe('ERR_MESH_PARTIAL')
    expect([...error.errors.keys()]).toEqual([1])
    expect(error.errors.get(1)).toBeInstanceOf(BackupsError)
    expect(error.errors.get(1)).toMatchObject({ written: true, acked: 0, wanted: 1, missing: ['member-9'] })
    expect(await t.until(plain.getMany([here, there]))).toEqual([1, 2])
    const deleted = (await errorOf(t, plain.deleteMany([here, there]))) as PartialError
    expect([...deleted.errors.keys()]).toEqual([1])
    expect(deleted.values[0]).toBe(true)
    expect(deleted.errors.get(1)?.message).toContain('delete again')
  })

  it('an update has been made, once', async () => {
    const { t } = await story(8101)
    const plain = mesh(t, 0).cache<number>('plain')
    const key = keyOf(t, 1, { cache: 'plain' })
    noBackupAnswers()
    let calls = 0
    const error = await errorOf(
      t,
      plain.update(key, now => {
        calls++
        return (now ?? 0) + 1
      })
    )
    expect(error).toMatchObject({ code: 'ERR_MESH_BACKUPS', written: true, retryable: false })
    expect(calls).toBe(1)
    expect(await t.until(plain.get(key))).toBe(1)
  })

  it('a write through is in the origin and in the cache', async () => {
    const { t, origin } = await story(8102)
    const products = cacheOf(mesh(t, 0))
    const key = keyOf(t, 1)
    noBackupAnswers()
    expect(await errorOf(t, products.set(key, 1))).toMatchObject({ code: 'ERR_MESH_BACKUPS', written: true })
    expect(origin.rows.get(key)).toBe(1)
    expect(await t.until(products.get(key, { load: false }))).toBe(1)
  })

  it.each([
    ['the owner', undefined, 1],
    ['the writer, where the owner has no store,', 1, 0]
  ])('a write behind is stored once, by %s', async (_, without, stores) => {
    const { t, origin } = await story(8103, { behind: true, ...(without === undefined ? {} : { without }) })
    const products = cacheOf(mesh(t, 0))
    const key = keyOf(t, 1)
    noBackupAnswers()
    expect(await errorOf(t, products.set(key, 1))).toMatchObject({ code: 'ERR_MESH_BACKUPS', written: true })
    await t.run('5s')
    expect(origin.stored).toMatchObject([{ key, value: 1, member: stores }])
  })
})
