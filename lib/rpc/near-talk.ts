/**
 * Messages about near copies: what an owner has changed, each change with a number. A part of the one table of
 * `messages.ts`; what is told by gossip has a layout of its own.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import { count, type Fields, flag, listOf, object, oneOf, readFields, real, writeFields } from './fields.ts'
import { keyText, namespaceText, peerText } from './words.ts'

/** Changes that an owner remembers, and so the most that one answer holds. */
export const CHANGES_MAX = 4_096
/** In place of an end. */
export const DELETED = 0
/** Keys that were read near, told at once. */
export const USED_MAX = 512

const changes = listOf(
  object({
    /**
     * Of one key, which is another from now on. Or a floor: dead is all below the stamp of which the key is the
     * beginning; what has the tag that stands in place of the key; what has any.
     */
    kind: oneOf('key', 'prefix', 'tag', 'tagged'),
    namespace: namespaceText,
    key: keyText,
    stamp: real,
    /** With the stamp it tells a record from the same one with another end; `DELETED` where there is none any more. */
    expiresAtMs: real
  }),
  CHANGES_MAX,
  'changes'
)

export const NEAR_LAYOUTS = {
  /**
   * How far have you come, and what has changed since this number? A boot of 0 asks for the number alone. `used`: what
   * was read near of late, and how often, so that it does not seem forgotten at home.
   */
  confirm: {
    boot: real,
    number: real,
    used: listOf(object({ namespace: namespaceText, key: keyText, reads: count }), USED_MAX, 'used')
  },
  /** `isWhole`: these are all the changes since. Otherwise nobody remembers, and whatever came before counts for nothing. */
  confirmed: { boot: real, number: real, isWhole: flag, changes }
} as const

export type Changed = Fields<typeof NEAR_LAYOUTS.confirmed>['changes'][number]

const announcement = { origin: peerText, boot: real, from: real, changes }
export type Announcement = Fields<typeof announcement>

/** What has changed at an owner, as bytes of their own; `from` is the number of the first. */
export function writeAnnouncement(to: ByteWriter, told: Announcement): void {
  writeFields(announcement, to, told)
}

export function readAnnouncement(from: ByteReader): Announcement {
  const told = readFields(announcement, from)
  from.end('announcement')
  return told
}
