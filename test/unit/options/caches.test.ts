import { describe, expect, it } from 'vitest'
import { Caches } from '../../../lib/caches.ts'
import type { CacheDefinition, Entry } from '../../../lib/fill/definition.ts'
import { noLog } from '../../../lib/ports/log.ts'

type Merge = NonNullable<CacheDefinition['merge']>

/** What a member has declared, without any other part of it. */
function declared(): { declare: (options: object) => Merge | undefined; detached: () => number } {
  let detached = 0
  const detach = <T>(run: () => T): T => {
    detached++
    return run()
  }
  const latest: CacheDefinition[] = []
  const caches = new Caches({ detach, log: noLog } as never, definition => latest.push(definition))
  const declare = (options: object): Merge | undefined => {
    caches.cache('products', { ttl: '1h', ...options } as never)
    return latest.at(-1)?.merge
  }
  return { declare, detached: () => detached }
}

const of = (value: unknown): Entry<unknown> => ({ value }) as Entry<unknown>

describe('the merge of a cache', () => {
  it('is called outside of any context', () => {
    const { declare, detached } = declared()
    const merge = declare({ merge: (a: Entry<number>, b: Entry<number>) => a.value + b.value })
    expect(merge?.(of(1), of(2))).toBe(3)
    expect(detached()).toBe(1)
  })

  it('is replaced by a new one, kept where none is given, and ended by the word', () => {
    const { declare } = declared()
    expect(declare({})).toBeUndefined()
    expect(declare({ merge: () => 'first' })?.(of(1), of(2))).toBe('first')
    expect(declare({ merge: () => 'second' })?.(of(1), of(2))).toBe('second')
    expect(declare({})?.(of(1), of(2))).toBe('second')
    expect(declare({ merge: 'latest' })).toBeUndefined()
  })
})
