import { describe, expect, it } from 'vitest'
import type { MeshError } from '../../lib/base/errors.ts'
import { errorOf, formed, keyOf, mesh, times } from './story.ts'

function refusal(call: () => unknown): MeshError {
  try {
    call()
  } catch (error) {
    return error as MeshError
  }
  throw new Error('it was taken')
}

describe('a cache', () => {
  it('by name alone is the one declared elsewhere', async () => {
    const t = await formed(2, {
      seed: 700,
      start: (member, index) =>
        index === 0 && member.cache('products', { ttl: '1h', load: (id: string) => `row ${id}` })
    })
    const key = keyOf(t, 0)
    const handle = mesh(t, 1).cache<string>('products')
    expect(await t.until(handle.get(key))).toBeUndefined()
    await t.until(mesh(t, 0).cache('products').get(key))
    expect(await t.until(handle.get(key))).toBe(`row ${key}`)
    expect(mesh(t, 0).cache('products')).toBe(mesh(t, 0).cache('products'))
  })

  it('by name alone says that its ttl is not known here, and takes one with the call', async () => {
    const t = await formed(2, { seed: 701 })
    const handle = mesh(t, 1).cache<number>('plain')
    const error = await errorOf(t, handle.set('k', 1))
    expect(error.code).toBe('ERR_MESH_OPTION')
    expect(error.message).toContain('Declare it with a ttl, or give one to this call')
    expect(await t.until(handle.has('k'))).toBe(false)
    await t.until(handle.set('k', 1, { ttl: '1m' }))
    expect(await t.until(handle.getOrSet('l', () => 2, { ttl: '1m' }))).toBe(2)
    expect(await t.until(mesh(t, 0).cache('plain').get('k'))).toBe(1)
  })

  it('may be declared after somebody asked for it by name', async () => {
    const t = await formed(1, { seed: 702 })
    const early = mesh(t, 0).cache<string>('products')
    mesh(t, 0).cache('products', { ttl: '1h', load: (id: string) => `row ${id}` })
    expect(await t.until(early.get('k'))).toBe('row k')
  })

  it('declared again with equal options keeps its values and takes the new loader', async () => {
    const t = await formed(1, { seed: 703 })
    const declare = (text: string) => mesh(t, 0).cache('products', { ttl: '1h', load: (id: string) => `${text} ${id}` })
    const first = declare('old')
    await t.until(first.get('kept'))
    const second = declare('new')
    expect(second).toBe(first)
    expect(await t.until(first.get('kept'))).toBe('old kept')
    expect(await t.until(first.get('fresh'))).toBe('new fresh')
  })

  it('declared again with other terms of writeBehind is refused, with equal ones taken', async () => {
    const store = (): void => {}
    const terms = { ttl: '1h', store, writeBehind: { delay: '1s' } } as const
    const t = await formed(1, { seed: 709, start: member => member.cache('products', terms) })
    mesh(t, 0).cache('products', { ...terms, writeBehind: { delay: 1_000 } })
    const error = refusal(() => mesh(t, 0).cache('products', { ...terms, writeBehind: { delay: '2s' } }))
    expect(error.message).toContain('"delayMs":1000')
    expect(error.message).toContain('"delayMs":2000')
  })

  it.each([
    ['ttl', { ttl: '2h' }],
    ['jitter', { ttl: '1h', jitter: 0.5 }],
    ['negativeTtl', { ttl: '1h', negativeTtl: 0 }],
    ['loadTimeout', { ttl: '1h', loadTimeout: '1s' }],
    ['maxValueBytes', { ttl: '1h', maxValueBytes: '2mb' }],
    ['storeTimeout', { ttl: '1h', storeTimeout: '1s' }],
    ['writeBehind', { ttl: '1h', writeBehind: true, store: () => {} }],
    ['version', { ttl: '1h', version: 2 }]
  ] as const)('declared again with another %s is refused and stays as it was', async (_, options) => {
    const t = await formed(1, { seed: 704, start: member => member.cache('products', { ttl: '1h' }) })
    await t.until(mesh(t, 0).cache('products').set('k', 1))
    const error = refusal(() => mesh(t, 0).cache('products', { ...options, load: () => 2 }))
    expect(error.code).toBe('ERR_MESH_REDEFINED')
    expect(error.message).toContain("'products' is declared already with another")
    expect(await t.until(mesh(t, 0).cache('products').get('k'))).toBe(1)
    expect(await t.until(mesh(t, 0).cache('products').get('absent'))).toBeUndefined()
  })

  it('declared again with other copies is refused, and with another merge taken', async () => {
    const t = await formed(1, { seed: 707 })
    const declare = (options: object) => mesh(t, 0).cache('copied', { ttl: '1h', backups: 2, ...options } as never)
    const merges: string[] = []
    declare({ merge: () => merges.push('first') })
    expect(refusal(() => declare({ backups: 1 })).message).toContain('with another backups (2, now 1)')
    expect(refusal(() => declare({ backupAcks: 'all' })).message).toContain('with another backupAcks (0, now 255)')
    declare({ merge: () => merges.push('second') })
    expect(mesh(t, 0).cache('copied')).toBe(declare({}))
    expect(refusal(() => mesh(t, 0).counter('hits', { ttl: '1m', backups: 5 } as never)).message).toContain('backups')
    mesh(t, 0).counter('hits', { ttl: '1m', backups: 2 })
    expect(refusal(() => mesh(t, 0).counter('hits', { ttl: '1m' })).code).toBe('ERR_MESH_REDEFINED')
  })

  it('of another version is another cache: a rolling deploy never mixes two shapes', async () => {
    const t = await formed(3, {
      seed: 705,
      start: (member, index) =>
        member.cache('products', { ttl: '1h', version: index === 2 ? 2 : 1, load: () => (index === 2 ? 'new' : 'old') })
    })
    for (const key of times(20, i => `k${i}`)) {
      const read = t.meshes.map(member => member.cache('products').get(key))
      expect(await t.until(Promise.all(read))).toEqual(['old', 'old', 'new'])
    }
    await t.until(mesh(t, 2).cache('products').delete('k0'))
    expect(await t.until(mesh(t, 0).cache('products').get('k0', { load: false }))).toBe('old')
  })

  it('shares nothing with one whose name and version read alike when put together', async () => {
    const t = await formed(1, { seed: 706 })
    const one = mesh(t, 0).cache<string>('a', { ttl: '1h', version: '1@2' })
    const other = mesh(t, 0).cache<string>('a@1', { ttl: '1h', version: 2 })
    await t.until(one.set('k', 'of one'))
    expect(await t.until(other.get('k'))).toBeUndefined()
  })

  it('shares no keys with another cache, arrays and texts included', async () => {
    const t = await formed(2, { seed: 707 })
    const [a, b] = ['a', 'b'].map(name =>
      mesh(t, 0).cache<string, string | readonly (string | number)[]>(name, { ttl: '1h' })
    )
    const keys = ['1', ['1'], [1], ['1', ''], ['', '1']]
    for (const [i, key] of keys.entries()) await t.until(a?.set(key, `a${i}`) as Promise<unknown>)
    for (const [i, key] of keys.entries()) {
      expect(await t.until(a?.get(key) as Promise<unknown>)).toBe(`a${i}`)
      expect(await t.until(b?.get(key) as Promise<unknown>)).toBeUndefined()
    }
  })

  it('with a name in any script is served by every member', async () => {
    const name = '商品'.repeat(30)
    const t = await formed(2, {
      seed: 708,
      start: member => member.cache(name, { ttl: '1h', version: '版'.repeat(60), load: (id: string) => id })
    })
    const keys = times(20, i => `k${i}`)
    expect(await t.until(mesh(t, 1).cache(name).getMany(keys))).toEqual(keys)
    expect(t.meshes.map(member => member.stats().linksRefusedTotal)).toEqual([0, 0])
  })
})
