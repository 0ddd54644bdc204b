import { describe, expect, it } from 'vitest'
import { isMeshError, LoadError } from '../../lib/base/errors.ts'
import type { LoadContext } from '../../lib/fill/definition.ts'
import type { Cluster } from '../../lib/testing.ts'
import { errorOf, formed, keyOf, mesh, times, watch } from './story.ts'

class NotFound extends Error {
  readonly code = 'E_NOT_FOUND'
  readonly status = 404
}

function failing(seed: number, load: (id: string, context: LoadContext) => unknown): Promise<Cluster> {
  return formed(3, {
    seed,
    start: member => member.cache('products', { ttl: '1h', loadTimeout: '2s', errorBackoff: 0, load })
  })
}

/** What a caller sees of an error, stacks aside. */
function face(error: Error): unknown {
  const { name, message, code, cause } = error as Error & { code?: string; cause?: Error & Record<string, unknown> }
  return { name, message, code, cause: cause && { name: cause.name, message: cause.message, fields: { ...cause } } }
}

describe('a loader that fails', () => {
  it.each([
    [
      'throws',
      () => {
        throw new NotFound('no such product')
      }
    ],
    ['rejects', () => Promise.reject(new NotFound('no such product'))]
  ])('and %s is the same LoadError for every caller, wherever it ran', async (_, load) => {
    const t = await failing(300, load)
    const key = keyOf(t, 0)
    const errors = await Promise.all([0, 1, 2].map(index => errorOf(t, mesh(t, index).cache('products').get(key))))
    for (const error of errors) {
      expect(error).toBeInstanceOf(LoadError)
      expect(isMeshError(error, 'ERR_MESH_LOAD')).toBe(true)
      expect(error.cause).toMatchObject({ message: 'no such product', code: 'E_NOT_FOUND', status: 404 })
      expect(error.cause).not.toBeInstanceOf(NotFound)
      expect(face(error)).toEqual(face(errors[0] as Error))
    }
  })

  it('under a lease fails its own caller and those who waited alike', async () => {
    const t = await formed(3, { seed: 301, start: member => member.cache('products', { ttl: '1h' }) })
    const key = keyOf(t, 0)
    let calls = 0
    const load = async (): Promise<never> => {
      calls++
      await t.sleep('100ms')
      throw new NotFound('no such product')
    }
    const waiting = [0, 1, 2].map(index => watch(t, mesh(t, index).cache('products').getOrSet(key, load)))
    await t.run('5s')
    expect(calls).toBe(1)
    expect(new Set(waiting.map(({ error }) => JSON.stringify(face(error as Error)))).size).toBe(1)
  })

  it('gives each caller an error of its own', async () => {
    const t = await failing(302, () => Promise.reject(new Error('down')))
    const [a, b] = times(2, () => watch(t, mesh(t, 0).cache('products').get('k')))
    await t.run('1s')
    expect(a?.error).toBeInstanceOf(LoadError)
    expect(a?.error).not.toBe(b?.error)
  })

  it('is asked again by the next get', async () => {
    let calls = 0
    const t = await failing(303, async () => {
      if (++calls === 1) throw new Error('unwell')
      return 'row'
    })
    const key = keyOf(t, 0)
    expect((await errorOf(t, mesh(t, 1).cache('products').get(key))).code).toBe('ERR_MESH_LOAD')
    expect(await t.until(mesh(t, 1).cache('products').get(key))).toBe('row')
    expect(calls).toBe(2)
  })

  it('and hangs is aborted at loadTimeout, and all who wait get ERR_MESH_LOAD_TIMEOUT', async () => {
    const signals: AbortSignal[] = []
    const t = await failing(304, (_, { signal }) => {
      signals.push(signal)
      return new Promise(() => {})
    })
    const key = keyOf(t, 0)
    const waiting = [0, 1, 2].map(index => watch(t, mesh(t, index).cache('products').get(key)))
    await t.run('5s')
    expect(waiting.map(({ error }) => (error as { code?: string } | undefined)?.code)).toEqual(
      times(3, () => 'ERR_MESH_LOAD_TIMEOUT')
    )
    expect(new Set(waiting.map(({ error }) => (error as Error).message)).size).toBe(1)
    expect(signals.map(({ aborted }) => aborted)).toEqual([true])
    expect(mesh(t, 0).stats().loadsInProgress).toBe(0)
  })

  it.each([
    ['a promise inside', { inner: Promise.resolve(1) }],
    ['a function', () => 1],
    ['a class instance', { price: new (class Decimal {})() }]
  ])('with a value that would not survive (%s) is refused with the path, for every caller', async (_, value) => {
    const t = await failing(305, () => value)
    const key = keyOf(t, 0)
    const errors = await Promise.all([0, 1].map(index => errorOf(t, mesh(t, index).cache('products').get(key))))
    expect(errors.map(({ code }) => code)).toEqual(['ERR_MESH_VALUE', 'ERR_MESH_VALUE'])
    expect(errors[0]?.message).toBe(errors[1]?.message)
    expect(mesh(t, 0).stats()).toMatchObject({ records: 0, loadsFailedTotal: 1 })
  })

  it('counts what failed where it ran', async () => {
    const t = await failing(306, () => Promise.reject(new Error('down')))
    await errorOf(t, mesh(t, 1).cache('products').get(keyOf(t, 0)))
    expect(t.meshes.map(member => member.stats().loadsFailedTotal)).toEqual([1, 0, 0])
  })

  it('with anything at all thrown still ends for all who wait', async () => {
    const thrown = [undefined, null, 'text', 42, Symbol('s'), { code: 1n }, [], Object.create(null)]
    let next = 0
    const t = await failing(307, () => {
      throw thrown[next++]
    })
    for (let i = 0; i < thrown.length; i++) {
      const error = await errorOf(
        t,
        mesh(t, i % 3)
          .cache('products')
          .get(keyOf(t, 0))
      )
      expect(error).toBeInstanceOf(LoadError)
      expect(error.cause).toBeInstanceOf(Error)
    }
  })
})
