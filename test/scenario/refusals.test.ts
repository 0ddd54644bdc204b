import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../lib/base/errors.ts'
import type { Cache } from '../../lib/cache.ts'
import { errorOf, formed, mesh } from './story.ts'

/** What callers do wrong; `any` of the types is what plain JavaScript lets through. */
type Wrong = (
  cache: Cache<unknown, never> & Record<string, (...given: unknown[]) => Promise<unknown>>
) => Promise<unknown>
const call =
  (method: string, ...given: unknown[]): Wrong =>
  cache =>
    (cache[method] as (...given: unknown[]) => Promise<unknown>).apply(cache, given)

const LOAD = () => 'loaded'

describe('a wrong call', () => {
  it.each<[string, Wrong, string, string]>([
    ['a bare number as key', call('get', 42), 'ERR_MESH_KEY', "write '42' or [42]"],
    ['no key', call('set', undefined, 'v'), 'ERR_MESH_KEY', 'it is missing'],
    ['an empty key', call('delete', ''), 'ERR_MESH_KEY', 'empty string'],
    ['a key over 1 KiB', call('set', 'k'.repeat(1_024), 'v'), 'ERR_MESH_KEY', 'at most 1024 bytes'],
    ['a key of objects', call('getOrSet', [{}], LOAD), 'ERR_MESH_KEY', 'at [0]'],
    ['keys that are no array', call('getMany', 'k'), 'ERR_MESH_KEY', 'to be an array'],
    ['undefined as value', call('set', 'k', undefined), 'ERR_MESH_VALUE', 'store null'],
    ['a promise as value', call('set', 'k', Promise.resolve(1)), 'ERR_MESH_VALUE', 'value'],
    ['a function inside', call('set', 'k', { a: [() => 1] }), 'ERR_MESH_VALUE', 'value.a[0]'],
    ['a value too large', call('set', 'k', 'x'.repeat(2_000)), 'ERR_MESH_VALUE_TOO_LARGE', 'Raise maxValueBytes'],
    [
      'a number as third argument',
      call('set', 'k', 'v', 5_000),
      'ERR_MESH_OPTION',
      'cache.set(key, value, { ttl: 5000 })'
    ],
    ['null as third argument', call('set', 'k', 'v', null), 'ERR_MESH_OPTION', 'got null'],
    ['a text as third argument', call('set', 'k', 'v', '5m'), 'ERR_MESH_OPTION', "{ ttl: '5m' }"],
    ['a ttl of 0', call('set', 'k', 'v', { ttl: 0 }), 'ERR_MESH_OPTION', 'duration above 0'],
    ['a ttl below 0', call('set', 'k', 'v', { ttl: -1 }), 'ERR_MESH_OPTION', 'got -1'],
    ['a ttl for a get', call('get', 'k', { ttl: '1s' }), 'ERR_MESH_OPTION', "Unknown option 'ttl' of get"],
    ['more backupAcks than backups', call('set', 'k', 'v', { backupAcks: 2 }), 'ERR_MESH_OPTION', 'at most 1'],
    ['a backupAck of a half', call('set', 'k', 'v', { backupAcks: 0.5 }), 'ERR_MESH_OPTION', "'all' or 'quorum'"],
    [
      'backupAcks of one entry',
      call('setMany', [
        ['a', 1],
        ['b', 2, { backupAcks: 'most' }]
      ]),
      'ERR_MESH_OPTION',
      "'all' or 'quorum'"
    ],
    ['backupAcks to update', call('update', 'k', LOAD, { backupAcks: 3 }), 'ERR_MESH_OPTION', 'at most 1'],
    ['backupAcks to compare', call('compareAndSet', 'k', null, 1, { backupAcks: 3 }), 'ERR_MESH_OPTION', 'at most 1'],
    ['backupAcks to touch', call('touch', 'k', '1m', { backupAcks: 3 }), 'ERR_MESH_OPTION', 'at most 1'],
    ['backupAcks to delete', call('delete', 'k', { backupAcks: 1 }), 'ERR_MESH_OPTION', "Unknown option 'backupAcks'"],
    [
      'backupAcks for what is loaded',
      call('getOrSet', 'k', LOAD, { backupAcks: 1 }),
      'ERR_MESH_OPTION',
      'or write the value with set'
    ],
    [
      'backupAcks for many that are loaded',
      call('getOrSetMany', ['k'], LOAD, { backupAcks: 0 }),
      'ERR_MESH_OPTION',
      'backupAcks is for writes'
    ],
    ['backupAcks to flush', call('flush', { backupAcks: 2 }), 'ERR_MESH_OPTION', 'at most 1'],
    ['a number to flush', call('flush', 1), 'ERR_MESH_OPTION', 'the first argument of flush to be an object'],
    ['a misspelt option', call('set', 'k', 'v', { tll: 1 }), 'ERR_MESH_OPTION', "Unknown option 'tll'"],
    ['a number as options of get', call('get', 'k', 5), 'ERR_MESH_OPTION', 'to be an object, got 5'],
    ['a signal that is none', call('get', 'k', { signal: {} }), 'ERR_MESH_OPTION', 'to be an AbortSignal'],
    ['a timeout of 0', call('get', 'k', { timeout: 0 }), 'ERR_MESH_OPTION', 'timeout'],
    ['a timeout of a month', call('set', 'k', 'v', { timeout: '30d' }), 'ERR_MESH_OPTION', 'at most 24 days'],
    ['load as text', call('get', 'k', { load: 'no' }), 'ERR_MESH_OPTION', 'true or false'],
    [
      'a loader that is none',
      call('getOrSet', 'k', 'value'),
      'ERR_MESH_OPTION',
      'write cache.getOrSet(key, () => value)'
    ],
    [
      'a number as options of update',
      call('update', 'k', LOAD, 5),
      'ERR_MESH_OPTION',
      'cache.update(key, fn, { ttl: 5 })'
    ],
    ['a number as options of delete', call('delete', 'k', 5), 'ERR_MESH_OPTION', 'cache.delete(key, { timeout: 5 })'],
    [
      'a number as options of clear',
      call('clear', 5),
      'ERR_MESH_OPTION',
      'the first argument of clear to be an object'
    ],
    ['no function for update', call('update', 'k', 5), 'ERR_MESH_OPTION', 'cache.update(key, now => next)'],
    ['an update to a class', call('update', 'k', () => new Error('x')), 'ERR_MESH_VALUE', 'value'],
    ['a version that is none', call('compareAndSet', 'k', 'v1', 1), 'ERR_MESH_OPTION', 'getEntry or set has given'],
    ['a version left out', call('compareAndSet', 'k', undefined, 1), 'ERR_MESH_OPTION', 'got undefined'],
    ['a stamp of 0', call('compareAndSet', 'k', '00000000000-member-0', 1), 'ERR_MESH_OPTION', 'getEntry or set'],
    ['a stamp in capitals', call('compareAndSet', 'k', '08YK7AEAOOH-a', 1), 'ERR_MESH_OPTION', 'getEntry or set'],
    ['undefined to set after comparing', call('compareAndSet', 'k', null, undefined), 'ERR_MESH_VALUE', 'store null'],
    ['no ttl for touch', call('touch', 'k'), 'ERR_MESH_OPTION', 'ttl of touch'],
    ['a ttl of touch as an option', call('touch', 'k', { ttl: '1m' }), 'ERR_MESH_OPTION', 'ttl of touch'],
    ['keys to delete that are no array', call('deleteMany', 'k'), 'ERR_MESH_KEY', 'to be an array'],
    ['a wrong key among good ones', call('deleteMany', ['a', 7]), 'ERR_MESH_KEY', "write '7' or [7]"],
    ['entries that are none', call('setMany', { a: 1 }), 'ERR_MESH_OPTION', "cache.setMany([['a', 1], ['b', 2]])"],
    ['an entry that is a key alone', call('setMany', [['a', 1], ['b']]), 'ERR_MESH_OPTION', 'got an array of 1'],
    ['an entry with a number', call('setMany', [['a', 1, 5]]), 'ERR_MESH_OPTION', 'cache.set(key, value, { ttl: 5 })'],
    [
      'a wrong value in the last entry',
      call('setMany', [
        ['a', 1],
        ['b', undefined]
      ]),
      'ERR_MESH_VALUE',
      'store null'
    ],
    ['a prefix that got lost', call('clear', { prefix: undefined }), 'ERR_MESH_KEY', 'leave prefix out'],
    ['an empty prefix', call('clear', { prefix: '' }), 'ERR_MESH_KEY', 'an empty string'],
    ['an empty list as prefix', call('clear', { prefix: [] }), 'ERR_MESH_KEY', 'an empty array'],
    ['a number as prefix', call('clear', { prefix: 42 }), 'ERR_MESH_KEY', 'leave prefix out'],
    ['a ttl for getEntry', call('getEntry', 'k', { ttl: 1 }), 'ERR_MESH_OPTION', "Unknown option 'ttl' of getEntry"],
    ['a wrong ttl of getOrSet', call('getOrSet', 'k', LOAD, { ttl: '5 minutes' }), 'ERR_MESH_OPTION', '5 minutes']
  ])('(%s) rejects with a stable code and what to do, and stores nothing', async (_, wrong, code, text) => {
    const t = await formed(2, {
      seed: 950,
      start: member => member.cache('plain', { ttl: '1h', maxValueBytes: '1kb' })
    })
    const error = await errorOf(t, wrong(mesh(t, 1).cache('plain') as never))
    expect(isMeshError(error)).toBe(true)
    expect(error.code).toBe(code)
    expect(error.message.toLowerCase()).toContain(text.toLowerCase())
    await t.run('1s')
    expect(t.meshes.map(member => member.stats().records)).toEqual([0, 0])
    expect(t.meshes.map(member => member.stats().loadsTotal)).toEqual([0, 0])
  })

  it('of keys is refused at once, before anybody iterates', async () => {
    const t = await formed(1, { seed: 952, start: member => member.cache('plain', { ttl: '1h' }) })
    const keys = (options: unknown) => () =>
      mesh(t, 0)
        .cache('plain')
        .keys(options as never)
    expect(keys(5)).toThrow('cache.keys({ timeout: 5 })')
    expect(keys({ prefix: '' })).toThrow('an empty string')
    expect(keys({ limit: 5 })).toThrow("Unknown option 'limit'")
    expect(keys({ timeout: 0 })).toThrow('timeout')
  })

  it.each<[string, (counter: Record<string, (...given: unknown[]) => Promise<unknown>>) => unknown, string, string]>([
    ['a text to add', c => c.add?.('k', '1'), 'ERR_MESH_OPTION', "got '1' (string)"],
    ['no number', c => c.add?.('k', Number.NaN), 'ERR_MESH_OPTION', 'finite number'],
    ['no end', c => c.add?.('k', Number.POSITIVE_INFINITY), 'ERR_MESH_OPTION', 'finite number'],
    ['options in the place of a number', c => c.add?.('k', { timeout: 1 }), 'ERR_MESH_OPTION', 'finite number'],
    ['a number as options', c => c.add?.('k', 1, 5), 'ERR_MESH_OPTION', 'counter.add(key, by, { timeout: 5 })'],
    ['a number as key', c => c.get?.(5), 'ERR_MESH_KEY', "write '5'"],
    ['no key', c => c.reset?.(), 'ERR_MESH_KEY', 'missing'],
    [
      'too many backupAcks',
      c => c.add?.('k', 1, { backupAcks: 2 }),
      'ERR_MESH_OPTION',
      "of counter 'hits' to be at most"
    ],
    ['backupAcks to flush', c => c.flush?.({ backupAcks: 2 }), 'ERR_MESH_OPTION', "of counter 'hits' to be at most 1"],
    ['a ttl', c => c.add?.('k', 1, { ttl: 1 }), 'ERR_MESH_OPTION', "Unknown option 'ttl' of add of counter 'hits'"]
  ])('of a counter (%s) is refused, and nothing is counted', async (_, wrong, code, text) => {
    const t = await formed(2, { seed: 953 })
    const counter = mesh(t, 1).counter('hits', { ttl: '1m' })
    const error = await errorOf(t, wrong(counter as never) as Promise<unknown>)
    expect(error.code).toBe(code)
    expect(error.message).toContain(text)
    expect(t.meshes.map(member => member.stats().records)).toEqual([0, 0])
  })

  it.each([
    ['members as text', { members: '3' }],
    ['no member', { members: 0 }],
    ['warm over 1', { warm: 1.1 }],
    ['warm as a percentage', { warm: '90%' }],
    ['warm that is no number', { warm: Number.NaN }],
    ['a signal that is none', { signal: {} }],
    ['a timeout of 0', { timeout: 0 }],
    ['an unknown option', { count: 3 }]
  ])('of ready (%s) is refused', async (_, options) => {
    const t = await formed(1, { seed: 951 })
    expect((await errorOf(t, mesh(t, 0).ready(options as never))).code).toBe('ERR_MESH_OPTION')
  })
})

describe('nonsense of others', () => {
  it('in gossip is refused each time, and the operator hears of it once a minute', async () => {
    const t = await formed(2, { seed: 954 })
    const warned: string[] = []
    mesh(t, 0).on('warning', ({ code }) => void warned.push(code))
    const stranger = t.network.pubsub({} as never, 'stranger')
    for (let i = 0; i < 20; i++) stranger.publish('cachemesh/sim/members', Uint8Array.of(1, 2, 3))
    await t.run('2s')
    const { linksRefusedTotal, logLinesWithheldTotal } = mesh(t, 0).stats()
    expect(warned).toEqual(['CACHEMESH_GOSSIP_REFUSED'])
    expect(logLinesWithheldTotal).toBe(linksRefusedTotal - 1)
    expect(logLinesWithheldTotal).toBeGreaterThan(10)
  })
})
