/**
 * How a value is kept beyond "until it expires": till when it is fresh, how long it may be answered stale, when it is
 * loaded anew ahead of time, and its tags. Most values have nothing of this; those that do carry it in front of their
 * bytes, so that it costs nobody else a word of a row, and an owner that has never declared the cache keeps it right.
 *
 *   stored ──── fresh ────▶ freshUntil ── answered, loaded anew behind ──▶ revalidateUntil ── only if a load fails ──▶ expires
 *                  ▲ from `aheadFrom` on, or by chance shortly before the end, a read has it loaded anew
 *
 * Early refresh is XFetch (Vattani, Chierichetti, Lowenstein: optimal probabilistic cache stampede prevention): each
 * read draws how many load times before the end it takes for the end, −ln of an even chance; so of many readers one is
 * early enough, however many there are, and of few hardly any. The end is put two load times forward: a load begun
 * within the last one would not be over in time, and its readers would wait after all. So a key that is read at least
 * once in the time its load takes is never missed, unless the load takes twice as long as the one before.
 */
import { NO_TAGS } from '../codec/tags.ts'

export interface Keeping {
  /** By the mesh clock, as all that follows. */
  readonly freshUntilMs: number
  /** Till then a stale value is answered while another is loaded behind. */
  readonly revalidateUntilMs: number
  /** From then on a read has it loaded anew; Infinity is never. */
  readonly aheadFromMs: number
  /** What a load took, times the eagerness of the cache; 0 is no early refresh. */
  readonly earlyMs: number
  /**
   * When the last of what it has replaced would have been over, where that is later than its own end; 0 where it is not.
   * A member that was cut off may still have that, so until then it must be known that there is something newer.
   */
  readonly shadowUntilMs: number
  /** Opaque here (`codec/tags.ts`). */
  readonly tags: Uint8Array
}

/** The same before it is known when it begins. */
export interface KeepTerms {
  readonly revalidateMs: number
  /** How long a stale value may stand in for a load that failed. */
  readonly staleMs: number
  /** The last share of the TTL in which a read has it loaded anew; 0 is none. */
  readonly ahead: number
  readonly earlyMs: number
  readonly tags: Uint8Array
}

/** What a load needs to be over in time. */
const LEAD = 2
/** Further from the end than this many load times nobody draws, but one in 3,000. */
const EARLY_MAX = LEAD + 8

const SHADOW_AT = 34
const KEEPING_BYTES_MIN = 42

/** When a value stored now is over for good, and how it is kept until then. */
export function keptFrom(nowMs: number, ttlMs: number, terms: KeepTerms | undefined): Kept {
  const freshUntilMs = nowMs + ttlMs
  if (terms === undefined) return { expiresAtMs: freshUntilMs, keeping: undefined }
  const { revalidateMs, staleMs, ahead, earlyMs, tags } = terms
  const aheadFromMs = ahead > 0 ? freshUntilMs - ttlMs * ahead : Number.POSITIVE_INFINITY
  return {
    expiresAtMs: freshUntilMs + Math.max(revalidateMs, staleMs),
    keeping: {
      freshUntilMs,
      revalidateUntilMs: freshUntilMs + revalidateMs,
      // Of a value that is kept for ever there is no last share.
      aheadFromMs: Number.isNaN(aheadFromMs) ? Number.POSITIVE_INFINITY : aheadFromMs,
      earlyMs,
      shadowUntilMs: 0,
      tags
    }
  }
}

export interface Kept {
  readonly expiresAtMs: number
  readonly keeping: Keeping | undefined
}

interface Keepable {
  readonly expiresAtMs: number
  readonly keeping?: Keeping | undefined
}

/** The same value for another time: its windows and tags stay what they were. */
export function keptAnew(kept: Keepable, nowMs: number, ttlMs: number): Kept {
  return keptFrom(nowMs, ttlMs, termsLeft(kept, ttlMs))
}

/** The terms under which it is kept, told of a value with so much time left. */
export function termsLeft({ expiresAtMs, keeping }: Keepable, ttlMs: number): KeepTerms | undefined {
  if (keeping === undefined) return undefined
  const { freshUntilMs, revalidateUntilMs, aheadFromMs, earlyMs, tags } = keeping
  const aheadMs = aheadFromMs === Number.POSITIVE_INFINITY ? 0 : freshUntilMs - aheadFromMs
  return {
    revalidateMs: lengthOf(freshUntilMs, revalidateUntilMs),
    staleMs: lengthOf(freshUntilMs, expiresAtMs),
    ahead: Math.min(1, aheadMs / ttlMs),
    earlyMs,
    tags
  }
}

/** How long a value may be answered stale: while another is loaded, and for want of one. */
export interface Windows {
  readonly staleWhileRevalidateMs: number
  readonly staleIfErrorMs: number
}

/**
 * The same value, stale from now on: its windows begin now instead of with the end of its TTL, so none of them ends later
 * than it would have, and one that has begun already goes on as it was. Undefined where nothing of it may be answered any
 * more. What is fresh for ever does not show how long its windows are, so those are asked for.
 */
export function softened({ expiresAtMs, keeping }: Keepable, nowMs: number, ofCache?: Windows): Kept | undefined {
  if (keeping === undefined) return undefined
  const { freshUntilMs, revalidateUntilMs, aheadFromMs } = keeping
  const isForEver = freshUntilMs === Number.POSITIVE_INFINITY
  const revalidateMs = isForEver ? (ofCache?.staleWhileRevalidateMs ?? 0) : revalidateUntilMs - freshUntilMs
  const staleMs = isForEver ? Math.max(revalidateMs, ofCache?.staleIfErrorMs ?? 0) : expiresAtMs - freshUntilMs
  const staleFromMs = Math.min(nowMs, freshUntilMs)
  const overAtMs = Math.min(expiresAtMs, staleFromMs + staleMs)
  if (overAtMs <= nowMs) return undefined
  return {
    expiresAtMs: overAtMs,
    keeping: {
      ...keeping,
      freshUntilMs: staleFromMs,
      revalidateUntilMs: Math.min(revalidateUntilMs, staleFromMs + revalidateMs),
      aheadFromMs: staleFromMs - lengthOf(aheadFromMs, freshUntilMs),
      shadowUntilMs: 0
    }
  }
}

/** As it was, but for tags that come with another value. */
export function keptAs({ expiresAtMs, keeping }: Keepable, given?: KeepTerms | undefined): Kept {
  if (given === undefined) return { expiresAtMs, keeping }
  return { expiresAtMs, keeping: { ...(keeping ?? plainUntil(expiresAtMs)), tags: given.tags } }
}

/** Fresh until it expires: as good as no keeping. */
function plainUntil(expiresAtMs: number): Keeping {
  return {
    freshUntilMs: expiresAtMs,
    revalidateUntilMs: expiresAtMs,
    aheadFromMs: Number.POSITIVE_INFINITY,
    earlyMs: 0,
    shadowUntilMs: 0,
    tags: NO_TAGS
  }
}

/**
 * Till when it must be known that what comes next is newer than `before` and all that it replaced: 0 where that is no
 * longer than it lives itself.
 */
export function shadowOf(before: Keepable | undefined, nextExpiresAtMs: number): number {
  if (before === undefined) return 0
  const untilMs = Math.max(before.expiresAtMs, before.keeping?.shadowUntilMs ?? 0)
  return untilMs > nextExpiresAtMs ? untilMs : 0
}

/** The same with another shadow; without one, what was plain stays so. */
export function withShadow(kept: Kept, shadowUntilMs: number): Kept {
  const { expiresAtMs, keeping } = kept
  if ((keeping?.shadowUntilMs ?? 0) === shadowUntilMs) return kept
  return { expiresAtMs, keeping: { ...(keeping ?? plainUntil(expiresAtMs)), shadowUntilMs } }
}

/** Between two times that may both be "never". */
function lengthOf(fromMs: number, untilMs: number): number {
  return untilMs === fromMs ? 0 : untilMs - fromMs
}

/** When a value stops being fresh. */
export function freshUntil({ expiresAtMs, keeping }: Keepable): number {
  return keeping === undefined ? expiresAtMs : keeping.freshUntilMs
}

/** Nothing is to be done about it but to answer it. */
export function isPlainlyFresh({ freshUntilMs, aheadFromMs, earlyMs }: Keeping, nowMs: number): boolean {
  return nowMs < freshUntilMs - earlyMs * EARLY_MAX && nowMs < aheadFromMs
}

/** Of a fresh value: whether this read is the one that has it loaded anew. `chance` is even, from 0 to 1. */
export function isDue({ freshUntilMs, aheadFromMs, earlyMs }: Keeping, nowMs: number, chance: number): boolean {
  return nowMs >= aheadFromMs || (earlyMs > 0 && nowMs + earlyMs * (LEAD - Math.log(1 - chance)) >= freshUntilMs)
}

export function keepingBytes(keeping: Keeping | undefined): number {
  return keeping === undefined ? 0 : KEEPING_BYTES_MIN + keeping.tags.length
}

/** The keeping and the value behind it, as one piece of memory. */
export function joinKeeping(keeping: Keeping, value: Uint8Array): Uint8Array {
  const { freshUntilMs, revalidateUntilMs, aheadFromMs, earlyMs, shadowUntilMs, tags } = keeping
  const joined = new Uint8Array(keepingBytes(keeping) + value.length)
  const view = new DataView(joined.buffer)
  view.setUint16(0, tags.length)
  view.setFloat64(2, freshUntilMs)
  view.setFloat64(10, revalidateUntilMs)
  view.setFloat64(18, aheadFromMs)
  view.setFloat64(26, earlyMs)
  view.setFloat64(SHADOW_AT, shadowUntilMs)
  joined.set(tags, KEEPING_BYTES_MIN)
  joined.set(value, KEEPING_BYTES_MIN + tags.length)
  return joined
}

/** Its shadow alone, for who looks through many. */
export function shadowIn(joined: Uint8Array): number {
  return new DataView(joined.buffer, joined.byteOffset, joined.length).getFloat64(SHADOW_AT)
}

/** Its tags alone, a view of it. */
export function tagsIn(joined: Uint8Array): Uint8Array {
  return joined.subarray(KEEPING_BYTES_MIN, KEEPING_BYTES_MIN + ((joined[0] as number) << 8) + (joined[1] as number))
}

/** Views of what `joinKeeping` made. */
export function splitKeeping(joined: Uint8Array): { keeping: Keeping; value: Uint8Array } {
  const view = new DataView(joined.buffer, joined.byteOffset, joined.length)
  const valueAt = KEEPING_BYTES_MIN + view.getUint16(0)
  const keeping = {
    freshUntilMs: view.getFloat64(2),
    revalidateUntilMs: view.getFloat64(10),
    aheadFromMs: view.getFloat64(18),
    earlyMs: view.getFloat64(26),
    shadowUntilMs: view.getFloat64(SHADOW_AT),
    // Its own, for the value may be the store's memory and the keeping is kept longer than a glance.
    tags: joined.slice(KEEPING_BYTES_MIN, valueAt)
  }
  return { keeping, value: joined.subarray(valueAt) }
}
