import { beforeEach, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { FloorNews } from '../../../lib/replication/floor-news.ts'
import { seededRandom } from '../../../lib/sim/random.ts'
import type { Floor } from '../../../lib/store/floor.ts'
import { Store } from '../../../lib/store/store.ts'

let store: Store
let news: FloorNews
let stamp: number

beforeEach(() => {
  store = new Store({ bytesMax: 1e6, stats: new Stats(), random: seededRandom(1) })
  news = new FloorNews(store)
  stamp = 0
})

function lay(text: string, kind: Floor['kind'] = 'tag'): void {
  store.addFloor({ kind, namespace: 'n', text, stamp: ++stamp, atMs: 1 })
}

const toldTo = (peer: string): string[] => {
  const toTell = news.for(peer)
  news.heard(peer, toTell)
  return [...new Set(toTell.floors.map(({ text }) => text))].sort()
}

it('is told once to each, and then what was laid since', () => {
  for (const text of ['a', 'b']) lay(text)
  lay('sc', 'prefix')
  expect(toldTo('one')).toEqual(['a', 'b', 'sc'])
  expect(toldTo('one')).toEqual([])
  lay('d')
  lay('a')
  expect(toldTo('one')).toEqual(['a', 'd'])
  expect(toldTo('other')).toEqual(['a', 'b', 'd', 'sc'])
})

it('is told again where nobody has answered, and where the link was lost', () => {
  lay('a')
  news.for('one')
  expect(toldTo('one')).toEqual(['a'])
  news.forget('one')
  expect(toldTo('one')).toEqual(['a'])
})

it('an answer of before takes nothing back', () => {
  lay('a')
  const before = news.for('one')
  lay('b')
  expect(toldTo('one')).toEqual(['a', 'b'])
  news.heard('one', before)
  expect(toldTo('one')).toEqual([])
})

it('of more than are known in order all are told', () => {
  for (let i = 0; i < 5_000; i++) lay(`t${i}`)
  expect(toldTo('one').length).toBe(5_000)
  for (let i = 0; i < 3_000; i++) lay(`u${i}`)
  expect(toldTo('one').length).toBe(8_000)
  lay('v')
  expect(toldTo('one')).toEqual(['v'])
})
