/**
 * The recipe of the README against a real PostgreSQL, in this process: its trigger, its notifications and their versions.
 * The mesh is simulated, and told of what the database has said in whatever order a network would.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { LoadingCache } from '../../lib/cache.ts'
import { formed, mesh, times } from './story.ts'

const readme = readFileSync(resolve(import.meta.dirname, '../../README.md'), 'utf8')
/** What a reader would paste. */
const RECIPE = /await pg\.exec\(`([\s\S]*?)`\)/.exec(readme)?.[1] ?? ''
const CHANNEL = 'products_changed'

type Told = readonly [id: string, version: string]

let pg: PGlite
let told: Told[]

beforeAll(async () => {
  pg = await PGlite.create()
  await pg.exec(RECIPE)
  await pg.listen(CHANNEL, payload => told.push(JSON.parse(payload)))
  // A database begins in seconds, in more of them where others work.
}, 120_000)

afterAll(() => pg.close(), 120_000)

beforeEach(async () => {
  told = []
  await pg.exec('DELETE FROM products')
  told = []
})

/** Three members that have the rows as they are in the database when `look` was called last. */
async function shop(seed: number) {
  const rows = new Map<string, string>()
  const loads: string[] = []
  const load = (id: string) => {
    loads.push(id)
    return rows.get(id) ?? null
  }
  const t = await formed(3, { seed, start: member => void member.cache('products', { ttl: '1h', load }) })
  const cache = (by: number) => mesh(t, by).cache('products') as unknown as LoadingCache<string | null>
  const look = async () => {
    rows.clear()
    const found = await pg.query<{ id: string; name: string }>('SELECT id, name FROM products')
    for (const { id, name } of found.rows) rows.set(id, name)
  }
  const change = async (sql: string) => {
    await pg.exec(sql)
    await look()
  }
  const get = (id: string, by = 1) => t.until(cache(by).get(id))
  const tell = ([id, version]: Told, by = 2) => t.until(cache(by).invalidate(id, { version }))
  const repeated = () => t.meshes.reduce((sum, one) => sum + one.stats().invalidationsRepeatedTotal, 0)
  return { t, loads, cache, change, get, tell, repeated }
}

describe('the trigger of the README', () => {
  it('tells of each change of a row after its commit, with versions that grow', async () => {
    await pg.exec("INSERT INTO products VALUES ('lamp', 'Lamp')")
    await pg.transaction(async tx => {
      await tx.exec("UPDATE products SET name = 'Bright lamp' WHERE id = 'lamp'")
      await tx.exec("UPDATE products SET name = 'Brighter lamp' WHERE id = 'lamp'")
      expect(told).toHaveLength(1)
    })
    await pg.exec("DELETE FROM products WHERE id = 'lamp'")
    expect(told.map(([id]) => id)).toEqual(times(4, () => 'lamp'))
    const versions = told.map(([, version]) => Number(version))
    expect(versions).toEqual(times(4, i => (versions[0] as number) + i))
  })

  it('tells of both keys where a row gets another one', async () => {
    await pg.exec("INSERT INTO products VALUES ('lamp', 'Lamp')")
    told = []
    await pg.exec("UPDATE products SET id = 'light' WHERE id = 'lamp'")
    expect(told.map(([id]) => id)).toEqual(['lamp', 'light'])
  })

  it('tells nothing of what was rolled back', async () => {
    await pg.exec("BEGIN; INSERT INTO products VALUES ('lamp', 'Lamp'); ROLLBACK")
    expect(told).toEqual([])
  })
})

describe('a mesh that is told by PostgreSQL', () => {
  it('loads once for each change, though every member listens', async () => {
    const { t, loads, cache, change, get, repeated } = await shop(1300)
    await change("INSERT INTO products VALUES ('lamp', 'Lamp')")
    expect(await get('lamp')).toBe('Lamp')
    for (const name of ['Bright lamp', 'Brighter lamp', 'Lamp again']) {
      told = []
      await change(`UPDATE products SET name = '${name}' WHERE id = 'lamp'`)
      const [[id, version]] = told as [Told]
      // The others hear of it when it has been read again.
      expect(await t.until(cache(0).invalidate(id, { version }))).toBe(true)
      expect(await get('lamp')).toBe(name)
      expect(await t.until(Promise.all([1, 2].map(by => cache(by).invalidate(id, { version }))))).toEqual([
        false,
        false
      ])
      expect(await get('lamp')).toBe(name)
    }
    expect([loads.length, repeated()]).toEqual([4, 6])
  })

  it('is right also when it is told in the wrong order, and a value loaded since stays', async () => {
    const { loads, change, get, tell } = await shop(1301)
    await change("INSERT INTO products VALUES ('lamp', 'Lamp')")
    await get('lamp')
    told = []
    await change("UPDATE products SET name = 'a' WHERE id = 'lamp'; UPDATE products SET name = 'b' WHERE id = 'lamp'")
    const [first, last] = told as [Told, Told]
    expect(await tell(last)).toBe(true)
    expect(await get('lamp')).toBe('b')
    expect([await tell(first), await get('lamp'), loads.length]).toEqual([false, 'b', 2])
  })

  it('knows that a row is gone, and that it is there again', async () => {
    const { change, get, tell } = await shop(1302)
    await change("INSERT INTO products VALUES ('lamp', 'Lamp')")
    await get('lamp')
    for (const [sql, name] of [
      ["DELETE FROM products WHERE id = 'lamp'", null],
      ["INSERT INTO products VALUES ('lamp', 'Back')", 'Back']
    ] as const) {
      told = []
      await change(sql)
      for (const one of told) await tell(one)
      expect(await get('lamp')).toBe(name)
    }
  })

  it('that has missed a notification is right after a clear', async () => {
    const { t, cache, change, get, tell } = await shop(1303)
    await change("INSERT INTO products VALUES ('lamp', 'Lamp')")
    await get('lamp')
    await change("UPDATE products SET name = 'missed' WHERE id = 'lamp'")
    expect(await get('lamp')).toBe('Lamp')
    await t.until(cache(1).clear())
    expect(await get('lamp')).toBe('missed')
    // A restore may set the sequence back.
    told = []
    await pg.exec("SELECT setval('row_versions', 1)")
    await change("UPDATE products SET name = 'restored' WHERE id = 'lamp'")
    for (const one of told) await tell(one)
    expect(await get('lamp')).toBe('restored')
  })
})
