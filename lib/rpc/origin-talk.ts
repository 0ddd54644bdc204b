/**
 * Messages about the origin: permits to call it, filters of what exists there, writes on their way to it. A part of the
 * one table of `messages.ts`.
 */
import { bytes, count, flag, listOf, object, oneOf, real } from './fields.ts'
import { keyText, namespaceText, once, peerText } from './words.ts'

/** Of the one call that a half-open breaker lets through: none of ours, under way, or what it came to. */
const PROBE_STATES = ['none', 'running', 'ok', 'failed', 'aborted'] as const
export const BREAKER_STATES = ['closed', 'open', 'half-open'] as const
/** A gigabit in parts of 32 KiB (`fill/key-filter.ts`). */
export const FILTER_PARTS_MAX = 4_096
export const FILTER_PART_BYTES = 32 * 1024
/** Keys added to a filter by one message. */
export const FILTER_KEYS_MAX = 512

/** Filters are ordered by when their filling began, by the mesh clock; 0 is none. */
const generation = { stamp: real, writer: peerText }
/** What a member has of the filter of a cache: the newest generation it knows, and how far it has it. */
export const filterState = object({
  ...generation,
  /** Of that generation. 0 bits: there is none any more. */
  bits: count,
  hashes: count,
  hashing: count,
  /** False: it has not declared one, or one far too small, and lets everything through. */
  holds: flag,
  complete: flag,
  /** Nothing that others were told has passed it by, and nobody's fate is open. */
  level: flag,
  /** How often that was in doubt. */
  doubts: count,
  print: real
})

export const ORIGIN_LAYOUTS = {
  /** To the member that hands out the permits of a cache: what we hold, what we could use, what came of our calls. */
  demand: {
    namespace: namespaceText,
    /** Which census this answers, and the last `permits` heard since; 0 where there was none. */
    session: real,
    serial: count,
    /** Calls that may run here until `permits` come again. */
    held: count,
    wanted: count,
    oks: count,
    failures: count,
    probe: oneOf(...PROBE_STATES),
    /** How long the breaker is open by what we were told; 0 where it is closed. */
    retryAfterMs: real,
    /** The cache's options, for it may not be declared there. */
    loadConcurrency: count,
    breakerFailures: count,
    breakerOpenMs: real
  },
  /** What do you hold? From here on only permits of this session count. */
  census: { namespace: namespaceText, session: real },
  permits: {
    namespace: namespaceText,
    session: real,
    serial: count,
    limit: count,
    /** What is counted as the member's until it has said that it has heard this, and holds less. */
    counted: count,
    /** Calls that may begin now beyond the limit, or never. */
    once: count,
    scarce: flag,
    breaker: oneOf(...BREAKER_STATES),
    retryAfterMs: real
  },
  /** Filters of what exists: what I have; what have you? */
  filterCompare: { namespace: namespaceText, cutOff: flag, state: filterState },
  /** These exist, whatever generation you have or are making. */
  filterAdd: { namespace: namespaceText, keys: listOf(keyText, FILTER_KEYS_MAX, 'keys') },
  filterPrints: { namespace: namespaceText, ...generation },
  filterPull: { namespace: namespaceText, ...generation, part: count },

  /** `cutOff`: it has lost most of those it knew. Somebody who joined it since cannot know that by itself. */
  filterTold: { viewHash: real, cutOff: flag, state: filterState },
  /** One for each part; none where that generation is not here. */
  filterPrinted: { prints: listOf(real, FILTER_PARTS_MAX, 'prints') },
  /** Nothing where that generation is not here. */
  filterPart: { bytes: bytes(FILTER_PART_BYTES, 'part of a filter') },
  /** I am going to store this key in the origin. `exclusive`: alone, and only if it has this version. */
  ticket: {
    namespace: namespaceText,
    key: keyText,
    exclusive: flag,
    expectedStamp: real,
    expectedWriter: peerText,
    /** After that long the writer does not come back. */
    lifeMs: real,
    ...once
  },
  /** And its version, which orders it among what others store of the key. */
  ticketed: { state: oneOf('open', 'busy', 'differs', 'full'), ticket: real, stamp: real, writer: peerText },
  /** The origin has this version of a key now; a value of another version may be older. */
  originHas: { namespace: namespaceText, key: keyText, stamp: real, writer: peerText, ...once },
  heeded: {}
} as const
