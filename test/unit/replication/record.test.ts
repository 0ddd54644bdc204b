import { describe, expect, it } from 'vitest'
import { entryOf, recordOf } from '../../../lib/replication/record.ts'
import type { Entry } from '../../../lib/store/entry.ts'

const ENTRY: Entry = {
  namespace: '["products","1"]',
  key: 's42',
  partition: 7,
  version: { stamp: 5, writer: 'member-1' },
  kind: 'value',
  negative: true,
  backups: 2,
  expiresAtMs: 1_000,
  bytes: new Uint8Array([1, 2, 3]),
  keeping: {
    freshUntilMs: 500,
    revalidateUntilMs: 700,
    aheadFromMs: Number.POSITIVE_INFINITY,
    earlyMs: 3,
    shadowUntilMs: 2_000,
    tags: new Uint8Array([9])
  }
}

describe('a record on its way', () => {
  it('is what it was when it arrives', () => {
    expect(entryOf(recordOf(ENTRY), 7)).toEqual(ENTRY)
    const tombstone: Entry = {
      ...ENTRY,
      kind: 'tombstone',
      negative: false,
      bytes: new Uint8Array(0),
      keeping: undefined
    }
    expect(entryOf(recordOf(tombstone), 7)).toEqual(tombstone)
  })

  it('has the partition that its taker finds, and none on the way', () => {
    expect(recordOf(ENTRY)).not.toHaveProperty('partition')
    expect(entryOf(recordOf(ENTRY), 8).partition).toBe(8)
  })
})
