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

  it.each([
    ['members as text', { members: '3' }],
    ['no member', { members: 0 }],
    ['a signal that is none', { signal: {} }],
    ['a timeout of 0', { timeout: 0 }],
    ['an unknown option', { count: 3 }]
  ])('of ready (%s) is refused', async (_, options) => {
    const t = await formed(1, { seed: 951 })
    expect((await errorOf(t, mesh(t, 0).ready(options as never))).code).toBe('ERR_MESH_OPTION')
  })
})
