import { beforeEach, describe, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { PARTITIONS } from '../../../lib/placement/partitions.ts'
import { PAGE_KEYS_MAX } from '../../../lib/rpc/messages.ts'
import { pageOf } from '../../../lib/serving/key-pages.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import { Store } from '../../../lib/store/store.ts'

let store: Store
let owned: (partition: number) => boolean

beforeEach(() => {
  store = new Store({ bytesMax: 1e9, stats: new Stats(), random: seededRandom(1) })
  owned = () => true
})

function put(key: string, partition: number, namespace = 'n'): void {
  const bytes = new Uint8Array(1)
  const version = { stamp: 1, writer: 'a' }
  store.put({ namespace, key, partition, version, kind: 'value', bytes, expiresAtMs: 10, negative: false, backups: 0 })
}

function page(partition = 0, after = '', prefix = '') {
  const source = { store, owns: (at: number) => owned(at), nowMs: () => 5 }
  return pageOf(source, { type: 'keys', namespace: 'n', prefix, viewHash: 0, partition, after })
}

/** All keys, page by page, and how many pages that took. */
function walk(): { keys: string[]; pages: number } {
  const keys: string[] = []
  let pages = 0
  for (let [partition, after] = [0, '']; partition < PARTITIONS; pages++) {
    const next = page(partition, after)
    keys.push(...next.keys)
    if (next.partition === partition) expect(next.after > after).toBe(true)
    ;[partition, after] = [next.partition, next.after]
  }
  return { keys, pages }
}

describe('a page', () => {
  it('goes through the partitions in order, and through each in the order of its keys', () => {
    for (const [key, partition] of [
      ['sb', 7],
      ['sa', 7],
      ['sz', 2],
      ['sc', 16_383]
    ] as const)
      put(key, partition)
    put('sother', 7, 'm')
    expect(walk().keys).toEqual(['sz', 'sa', 'sb', 'sc'])
  })

  it('is bounded, and the next one goes on where it ended, also within a partition', () => {
    const keys = Array.from({ length: 5_000 }, (_, i) => `s${String(i).padStart(5, '0')}`)
    for (const key of keys) put(key, 9)
    put('sfirst', 3)
    put('slast', 10)
    const first = page()
    expect(first.keys.length).toBeLessThanOrEqual(PAGE_KEYS_MAX)
    expect(first).toMatchObject({ partition: 9, after: first.keys.at(-1) })
    const { keys: told, pages } = walk()
    expect(told).toEqual(['sfirst', ...keys, 'slast'])
    expect(pages).toBeGreaterThan(4)
  })

  it('misses no key that is there the whole time when others go', () => {
    const keys = Array.from({ length: 3_000 }, (_, i) => `s${String(i).padStart(5, '0')}`)
    for (const key of keys) put(key, 9)
    const first = page()
    for (const key of keys.slice(0, 500)) store.drop('n', key)
    put('s00000a', 9)
    const second = page(first.partition, first.after)
    expect(second.keys[0]).toBe(keys[first.keys.length])
  })

  it('has room for the longest keys, and goes on after each', () => {
    const long = Array.from({ length: 40 }, (_, i) => `s${String(i).padStart(2, '0')}${'x'.repeat(1_020)}`)
    for (const key of long) put(key, 5)
    expect(walk().keys).toEqual(long)
  })

  it('passes over what others own and does not look at too many partitions in one turn', () => {
    put('smine', 16_000)
    put('stheirs', 16_001)
    owned = partition => partition % 2 === 0
    expect(page()).toMatchObject({ keys: [], partition: 8_192 })
    expect(walk()).toEqual({ keys: ['smine'], pages: 2 })
  })

  it('takes any place it is asked to begin at', () => {
    put('sa', 5)
    expect(page(PARTITIONS + 7)).toMatchObject({ keys: [], partition: PARTITIONS })
    expect(page(5, 'sz')).toMatchObject({ keys: [], partition: 4_101 })
  })
})
