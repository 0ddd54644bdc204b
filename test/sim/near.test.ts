/** Planted bugs of near copies: each is found by what a client saw, within some seeds. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { Origins } from '../../lib/invalidation/origins.ts'
import { Stream } from '../../lib/invalidation/stream.ts'
import { NearCache } from '../../lib/near/near-cache.ts'
import type { Knobs } from './knobs.ts'
import { runSeed } from './run.ts'

/** Nothing goes wrong but that half of all gossip is lost. */
const QUIET: Partial<Knobs> = {
  ...{ near: true, gossipLoss: true, backups: 0 },
  ...{ crash: false, leave: false, split: false, oneWay: false, pause: false, loss: false, rolling: false },
  ...{ lostLinks: false, longSplits: false, pressure: false, linger: false }
}
const FOUND = /^(near copies keep up|deletes stay deleted|sessions)/

afterEach(() => {
  vi.restoreAllMocks()
})

async function expectFound(from: number): Promise<void> {
  for (let seed = from; seed < from + 30; seed++) {
    const { violation } = await runSeed(seed, { knobs: QUIET })
    if (violation === undefined) continue
    expect(violation.message).toMatch(FOUND)
    return
  }
  throw new Error('no seed has found it')
}

describe('a planted bug is found', { timeout: 300_000 }, () => {
  it('a change that ends no copy', async () => {
    vi.spyOn(NearCache.prototype, 'changed').mockImplementation(() => false)
    await expectFound(1)
  })

  it('a gap in the numbers that is taken for none, by one', async () => {
    const { hear } = Origins.prototype
    vi.spyOn(Origins.prototype, 'hear').mockImplementation(function (this: Origins, told) {
      const { from, changes } = told
      const [first] = changes
      hear.call(this, first === undefined ? told : { ...told, from: from - 1, changes: [first, ...changes] })
    })
    await expectFound(20)
  })

  it('a replay that forgets the first of what was missed', async () => {
    const { confirm } = Stream.prototype
    vi.spyOn(Stream.prototype, 'confirm').mockImplementation(function (this: Stream, ask) {
      const told = confirm.call(this, ask)
      return told.isWhole ? { ...told, changes: told.changes.slice(1) } : told
    })
    await expectFound(4)
  })

  it('a writer that keeps what it has overwritten', async () => {
    vi.spyOn(NearCache.prototype, 'changedHere').mockImplementation(() => false)
    await expectFound(159)
  })
})
