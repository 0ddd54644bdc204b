import { describe, expect, it } from 'vitest'
import { type CacheOptions, cacheDefinition } from '../../../lib/cache-options.ts'
import type { LoadContext } from '../../../lib/fill/definition.ts'
import { errorOf, startLoad } from '../../../lib/fill/load.ts'
import { Stats } from '../../../lib/observe/stats.ts'
import { noLog } from '../../../lib/ports/log.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { MeshClock } from '../../../lib/store/version.ts'
import { ManualClock } from '../rpc/manual-clock.ts'

function start(
  call: (context: LoadContext) => unknown,
  options: Partial<CacheOptions<never, never>> = {},
  ttlMs = 1_000
) {
  const clock = new ManualClock()
  const stats = new Stats()
  const definition = cacheDefinition('c', { ttl: '1h', jitter: 0, ...options } as never)
  const deps = { clock, meshClock: new MeshClock(clock), stats, random: seededRandom(1), log: noLog }
  return {
    clock,
    stats,
    definition,
    ...startLoad(deps, { definition, key: 'k', ttlMs, reason: 'miss', previous: undefined, call })
  }
}

describe('a load', () => {
  it('comes to bytes and the ttl it was given, also for the process that made it', async () => {
    const { done, stats, definition, clock } = start(() => ({ a: 1 }))
    const { code, bytes, ttlMs, negative } = await done
    expect([code, ttlMs, negative]).toEqual(['value', 1_000, false])
    expect(definition.codec.decode(bytes)).toEqual({ a: 1 })
    expect([stats.loadsTotal, stats.loadsFailedTotal, clock.armed]).toEqual([1, 0, 0])
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('down')
      }
    ],
    ['rejects', () => Promise.reject(new Error('down'))]
  ])('that %s comes to an outcome and never rejects', async (_, call) => {
    const { done, stats, definition } = start(call)
    const outcome = await done
    expect(outcome).toMatchObject({ code: 'ERR_MESH_LOAD', ttlMs: 0 })
    expect(stats.loadsFailedTotal).toBe(1)
    const [one, other] = [errorOf(outcome, definition, 'k'), errorOf(outcome, definition, 'k')]
    expect(one).toMatchObject({ code: 'ERR_MESH_LOAD', cache: 'c', key: 'k', cause: { message: 'down' } })
    expect(one).not.toBe(other)
  })

  it('that hangs is over at loadTimeout: its signal aborts and what it brings later is nothing', async () => {
    let context: LoadContext | undefined
    let settle = (_: unknown): void => {}
    const { done, clock } = start(
      given => {
        context = given
        return new Promise(resolve => (settle = resolve))
      },
      { loadTimeout: '2s' }
    )
    clock.pass(2_000)
    settle('late')
    expect(await done).toMatchObject({ code: 'ERR_MESH_LOAD_TIMEOUT', ttlMs: 0 })
    expect(context?.signal.aborted).toBe(true)
  })

  it('chooses how long it is kept, jitter only shortens that, and false keeps nothing', async () => {
    const ttlOf = async (choice: Parameters<LoadContext['store']>[0], jitter: number): Promise<number> => {
      const call = ({ store }: LoadContext): number => {
        store(choice)
        return 1
      }
      return (await start(call, { jitter }).done).ttlMs
    }
    expect(await ttlOf({ ttl: '5s' }, 0)).toBe(5_000)
    expect(await ttlOf({}, 0)).toBe(1_000)
    expect(await ttlOf(false, 0)).toBe(0)
    expect(await ttlOf({ ttl: 'forever' }, 1)).toBe(Number.POSITIVE_INFINITY)
    const jittered = await ttlOf({ ttl: '5s' }, 0.2)
    expect(jittered).toBeGreaterThanOrEqual(4_000)
    expect(jittered).toBeLessThan(5_000)
  })

  it('that chooses a ttl which is none has failed', async () => {
    const call = ({ store }: LoadContext): number => {
      store({ ttl: 0 })
      return 1
    }
    expect((await start(call).done).code).toBe('ERR_MESH_LOAD')
  })

  it('of nothing is kept for negativeTtl at most, whatever it chose', async () => {
    const call = ({ store }: LoadContext): null => {
      store({ ttl: '1h' })
      return null
    }
    expect(await start(call).done).toMatchObject({ ttlMs: 5_000, negative: true })
    expect(await start(() => undefined, { negativeTtl: 0 }).done).toMatchObject({ ttlMs: 0, negative: true })
  })

  it('too large to keep is handed out, and too large for a frame is refused everywhere alike', async () => {
    const large = start(() => 'x'.repeat(3_000), { maxValueBytes: '1kb' })
    expect(await large.done).toMatchObject({ code: 'value', ttlMs: 0 })
    expect(large.stats.valuesTooLargeTotal).toBe(1)
    const codec = { encode: () => new Uint8Array(20 * 1024 ** 2), decode: () => 1 }
    expect((await start(() => 1, { codec } as never).done).code).toBe('ERR_MESH_VALUE_TOO_LARGE')
  })

  it('whose codec throws, or whose value would not survive, is the value that is refused', async () => {
    const codec = {
      encode: () => {
        throw new Error('mine')
      },
      decode: () => 1
    }
    expect((await start(() => 1, { codec } as never).done).code).toBe('ERR_MESH_VALUE')
    expect(await start(() => ({ f: () => 1 })).done).toMatchObject({
      code: 'ERR_MESH_VALUE',
      failure: expect.stringContaining('f')
    })
  })

  it('that is aborted tells its loader and is over when the loader says so', async () => {
    const { done, abort } = start(
      ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    )
    abort()
    abort()
    expect((await done).code).toBe('ERR_MESH_LOAD')
  })
})
