/**
 * Every message members exchange, as one table of layouts. The table is the wire format, the types and the caps at
 * once, so the three cannot disagree: `frame.ts` walks it to write and to read, and `Message` is derived from it.
 *
 * A request carries a call number; its replies carry the same one. Notices (`hello`, `renew`, …) expect no reply.
 */
import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import { ROW_DIGITS_MAX } from '../codec/row-version.ts'
import { TAGS_BYTES_MAX, TAGS_MAX } from '../codec/tags.ts'
import {
  bytes,
  count,
  type Field,
  type Fields,
  flag,
  inRange,
  listOf,
  object,
  oneOf,
  optional,
  readFields,
  real,
  text,
  writeFields
} from './fields.ts'
import { NEAR_LAYOUTS } from './near-talk.ts'
import { BREAKER_STATES, type filterState, ORIGIN_LAYOUTS } from './origin-talk.ts'
import { REPLICA_LAYOUTS } from './replica-talk.ts'
import { backups, copying, keyText, namespaceText, once, peerText, valueBytes } from './words.ts'

export const WEIGHT_MAX = 1000

/** A member counts up by one each time it contradicts; a number near the end of its range is a lie. */
const incarnation: Field<number> = {
  write: count.write,
  read: from => inRange(from.u32(), 2 ** 31, 'incarnation')
}
const weight: Field<number> = { write: real.write, read: from => inRange(from.f64(), WEIGHT_MAX, 'weight') }

/** Keys asked for by one `readMany`. */
export const KEYS_MAX = 1024

/** `stored`: answer with what is there. `load`: the registered loader may run. `lease`: only the caller's may. */
export const READ_MODES = ['stored', 'load', 'lease'] as const
/**
 * `fresh`: nothing that is stale. `refresh`: what a load brings now, whatever is stored. `warm`: only have it loaded if it
 * is not there; the value itself stays where it is.
 */
export const READ_WISHES = ['usual', 'fresh', 'refresh', 'warm'] as const
/** Why a load runs. */
const reason = oneOf('miss', 'stale', 'early', 'warm')
/** Of one key among many: nothing here, not ours to say, to be asked for alone, a value, a cached nothing. */
export const FOUND_STATES = ['absent', 'elsewhere', 'alone', 'value', 'negative'] as const
const failureText = text(16 * 1024, 'failure')

export const MEMBERS_MAX = 4096
/** Records that ride on a ping or a pong. */
export const NEWS_MAX = 64

const memberRecord = object({
  id: peerText,
  boot: real,
  incarnation,
  status: oneOf('alive', 'suspect', 'dead', 'left'),
  weight,
  zone: text(256, 'zone'),
  host: text(256, 'host'),
  addresses: listOf(text(512, 'address'), 32, 'addresses'),
  /**
   * The teller knows it itself. Of a live member: it is linked to it, or is it; only then is an unknown member believed
   * (PROTOCOL M2). Of a suspect: its own pings went unanswered, which confirms the suspicion.
   */
  firstHand: flag
})
const news = listOf(memberRecord, NEWS_MAX, 'news')
const members = listOf(memberRecord, MEMBERS_MAX, 'members')
const prints = listOf(real, MEMBERS_MAX, 'prints')

/** What is cleared: how keys begin, or tags. */
const texts = listOf(keyText, TAGS_MAX, 'texts')
const tagBytes = bytes(TAGS_BYTES_MAX, 'tags')
/** How a value is to be kept beyond its TTL (`store/keeping.ts`). */
const keep = optional(object({ revalidateMs: real, staleMs: real, ahead: real, earlyMs: real, tags: tagBytes }))
/** What was stored before a load began. */
const previous = optional(
  object({ stamp: real, writer: peerText, expiresAtMs: real, stale: flag, bytes: valueBytes, tags: tagBytes })
)

const outcomeFields = {
  /** What a load came to: a value, or an error that every waiter gets. */
  code: oneOf(
    'value',
    'ERR_MESH_LOAD',
    'ERR_MESH_LOAD_TIMEOUT',
    'ERR_MESH_VALUE',
    'ERR_MESH_VALUE_TOO_LARGE',
    'ERR_MESH_BACKOFF',
    'ERR_MESH_OVERLOADED'
  ),
  bytes: valueBytes,
  failure: failureText
}

/** Keys of one page of an iteration; the serving side closes a page earlier by its bytes. */
export const PAGE_KEYS_MAX = 1_024

/** What a write has to do with the origin: nothing; stored there by the writer, under a ticket; to be stored later. */
const origin = {
  origin: oneOf('none', 'through', 'behind'),
  ticket: real
}

/** Of a write that has nothing to do with the origin. */
export const CACHE_ONLY = { origin: 'none', ticket: 0 } as const

/** Of a delete after which nothing is left. */
export const OUTRIGHT = { soft: false, row: '' } as const

export const LAYOUTS = {
  hello: {
    mesh: text(256, 'mesh name'),
    partitions: count,
    /** Members that place keys differently must not be in one mesh. */
    placement: real,
    boot: real,
    record: memberRecord
  },

  /** Are you there, and is your view as mine? */
  ping: { stateHash: real, news },
  pong: { stateHash: real, news },
  /** Do you hear this member? Asked before it is declared dead; answered when it has been tried. */
  probe: { peer: peerText },
  probed: { peer: peerText, heard: flag },
  /** An exchange of views: the prints of all records in one direction, then in each only what the other lacks. */
  view: { round: count, stateHash: real },
  digest: { round: count, same: flag, certain: flag, prints },
  swap: { round: count, records: members, wanted: prints },
  swapped: { round: count, records: members },
  /** What the peer has just shown not to know. */
  news: { records: members },

  read: { namespace: namespaceText, key: keyText, mode: oneOf(...READ_MODES), wish: oneOf(...READ_WISHES) },
  /** What is stored of many keys at once; answered in parts, so that none is larger than a small frame. */
  readMany: { namespace: namespaceText, keys: listOf(keyText, KEYS_MAX, 'keys') },
  write: {
    namespace: namespaceText,
    key: keyText,
    bytes: valueBytes,
    ttlMs: real,
    keep,
    ...copying,
    ...once,
    ...origin
  },
  /**
   * `soft`: what is there is stale from now on, and gone only where nothing stale may be answered. `row`: done only if it
   * is higher than any before of this key; none where it is empty.
   */
  remove: {
    namespace: namespaceText,
    key: keyText,
    soft: flag,
    row: text(ROW_DIGITS_MAX, 'row version'),
    ...copying,
    ...once,
    ...origin
  },
  fill: {
    namespace: namespaceText,
    key: keyText,
    lease: real,
    boot: real,
    ...outcomeFields,
    /** 0 or less: hand out, do not keep. */
    ttlMs: real,
    negative: flag,
    keep,
    backups
  },
  renew: { lease: real, boot: real },
  /** The lease came too late, its caller has gone: the next in line may have it. */
  release: { lease: real, boot: real },
  cancel: {},

  hit: { stamp: real, writer: peerText, expiresAtMs: real, negative: flag, bytes: valueBytes },
  /** A fresh value that is in demand: whoever gets it may keep it near for a moment. */
  hot: { stamp: real, writer: peerText, expiresAtMs: real, negative: flag, bytes: valueBytes, tags: tagBytes },
  absent: {},
  /** Some of the answers to `readMany`, in the order of its keys. */
  found: {
    last: flag,
    items: listOf(object({ state: oneOf(...FOUND_STATES), bytes: valueBytes }), KEYS_MAX, 'items')
  },
  /** Not an answer yet: a load is running, wait for as long as a load may take. */
  waiting: {},
  /** Load it yourself, then send `fill` with this token. */
  lease: { lease: real, boot: real, reason, previous },
  /** What a flight brought: the version it has, or would have had, and when it expires where it was kept. */
  loaded: { ...outcomeFields, negative: flag, stamp: real, writer: peerText, expiresAtMs: real, tags: tagBytes },
  /** `taken`: the owner stores it in the origin later; otherwise that is left to the writer. */
  written: { stamp: real, writer: peerText, taken: flag },
  removed: { existed: flag, stamp: real, writer: peerText, taken: flag },
  filled: { stored: flag },
  notOwner: {},
  overloaded: {},
  /** The request was understood and failed inside; a bug, counted and reported at both ends. */
  broken: { reason: text(1024, 'reason') },

  compareAndSet: {
    namespace: namespaceText,
    key: keyText,
    /** The version that must be there; a stamp of 0 is: only if there is no value. */
    expectedStamp: real,
    expectedWriter: peerText,
    bytes: valueBytes,
    ttlMs: real,
    /** The value that is replaced hands on its expiry, its windows and its tags. */
    keepTtl: flag,
    keep,
    ...copying,
    ...once,
    ...origin
  },
  touch: { namespace: namespaceText, key: keyText, ttlMs: real, ...copying, ...once },
  add: { namespace: namespaceText, key: keyText, by: real, ttlMs: real, ...copying, ...once },
  /**
   * Asked of every member that may hold something: all below this stamp is dead. A stamp of 0 only asks for an answer,
   * and with it for the clock there. An empty prefix is the whole cache; tags may be those of all caches. `soft`: stale
   * from now on, whatever its stamp.
   */
  clear: { kind: oneOf('prefix', 'tag'), namespace: namespaceText, texts, stamp: real, soft: flag, ...once },
  /** A page of keys from this partition on; within it, of those after `after`. Only between equal views. */
  keys: { namespace: namespaceText, prefix: keyText, viewHash: real, partition: count, after: keyText },

  compared: { done: flag, stamp: real, writer: peerText, taken: flag },
  touched: { existed: flag },
  /** Not done: the sum would not be exact any more. */
  added: { done: flag, value: real, expiresAtMs: real },
  cleared: { viewHash: real },
  /** And where to go on. */
  page: { keys: listOf(keyText, PAGE_KEYS_MAX, 'keys'), partition: count, after: keyText },
  /** The change is past its deadline, or whether it was made is not known any more: nothing was done now. */
  forgotten: {},

  /**
   * A stored value that is more than just there: stale, or with tags. With a lease above 0 the asker is to load it anew,
   * behind; its callers have this one.
   */
  kept: {
    stamp: real,
    writer: peerText,
    /** Till when it is fresh. */
    expiresAtMs: real,
    stale: flag,
    negative: flag,
    bytes: valueBytes,
    tags: tagBytes,
    lease: real,
    boot: real,
    reason
  },
  /** Asked of a member that owned the key until now: is it being loaded there, and what does that bring? */
  follow: { namespace: namespaceText, key: keyText },
  /** With a stamp above 0 it is what a member that leaves has stored, under the version it has there. */
  followed: { ...outcomeFields, ttlMs: real, negative: flag, keep, backups, stamp: real, writer: peerText },
  /** The callers of the holder of a lease have gone; it loads on for those who wait at the owner. */
  idle: { lease: real, boot: real },
  /** Nobody in the mesh waits for this load any more. */
  drop: { lease: real, boot: real },
  /** The value can never be kept here, whatever is given up for it: nothing was done. Key and overhead count. */
  tooLarge: { recordBytes: real, recordBytesMax: real },
  /** For people who ask why a key is as it is. */
  explain: { namespace: namespaceText, key: keyText },
  explained: {
    entry: optional(
      object({
        kind: oneOf('value', 'tombstone'),
        stamp: real,
        writer: peerText,
        expiresAtMs: real,
        /** When nothing of it is left to answer with, stale or not. */
        overAtMs: real,
        stale: flag,
        negative: flag,
        bytes: count,
        tags: tagBytes
      })
    ),
    fill: optional(object({ member: peerText, waiters: count, ms: real, reason })),
    backOff: optional(object({ failures: count, leftMs: real, why: text(2_048, 'why') })),
    /** How the guard of the origin stands there, for the whole cache. */
    origin: object({
      running: count,
      queued: count,
      permits: count,
      breaker: oneOf(...BREAKER_STATES),
      retryAfterMs: real
    }),
    /** The filter of what exists lets it through; what was written last still waits for the origin. */
    mayExist: flag,
    storePending: flag,
    lines: listOf(object({ agoMs: real, what: text(1_024, 'line') }), 64, 'lines')
  },
  ...ORIGIN_LAYOUTS,
  ...REPLICA_LAYOUTS,
  ...NEAR_LAYOUTS
} as const

export type Kind = keyof typeof LAYOUTS
export type MessageOf<K extends Kind> = { [T in K]: { readonly type: T } & Fields<(typeof LAYOUTS)[T]> }[K]
export type Message = MessageOf<Kind>

type ChangeKind = 'write' | 'remove' | 'compareAndSet' | 'touch' | 'add' | 'clear' | 'ticket' | 'originHas'
/** Who wants a change, which of its changes, and until when. */
export type Once = Fields<typeof once>
type Unsigned<M> = M extends unknown ? Omit<M, keyof Once> : never
/** What is to be changed, before it has an id. */
export type ChangeOf<K extends ChangeKind> = Unsigned<MessageOf<K>>
export type Change = Unsigned<MessageOf<ChangeKind>>
export type SignedChange = MessageOf<ChangeKind>
/** A write before it is known what the origin has to do with it. */
export type WriteOf<K extends 'write' | 'remove' | 'compareAndSet'> = Omit<ChangeOf<K>, keyof typeof origin>
export type FilterRequest = MessageOf<'filterCompare' | 'filterAdd' | 'filterPrints' | 'filterPull'>
/** What replicas ask of each other, and readers of replicas. */
export type ReplicaRequest = MessageOf<'readCopy' | 'copies' | 'peek' | 'offer' | 'list' | 'pull' | 'flush'>
export type Request =
  | MessageOf<'read' | 'readMany' | 'fill' | 'keys' | 'follow' | 'explain' | 'confirm' | ChangeKind>
  | FilterRequest
  | ReplicaRequest
/** What members tell each other about members. */
export type MemberTalk = MessageOf<
  'ping' | 'pong' | 'probe' | 'probed' | 'view' | 'digest' | 'swap' | 'swapped' | 'news'
>
/** Between the owner of a key and who loads it under its lease. */
export type LeaseTalk = MessageOf<'renew' | 'release' | 'idle' | 'drop'>
export type Notice = MessageOf<'hello' | 'cancel'> | LeaseTalk | MemberTalk | BudgetTalk
/** What members tell each other about permits to call an origin. */
export type BudgetTalk = MessageOf<'demand' | 'census' | 'permits'>
export type Reply = Exclude<Message, Request | Notice>
export type MemberFields = Fields<{ record: typeof memberRecord }>['record']
export type Outcome = Fields<typeof outcomeFields>
export type LoadReason = MessageOf<'lease'>['reason']
/** What was stored before a load began, its value still as bytes. */
export type Previous = NonNullable<MessageOf<'lease'>['previous']>
export type FilterState = Fields<{ state: typeof filterState }>['state']

/** The order of this list is the wire format: append only. */
export const KINDS = [
  'hello',
  'ping',
  'pong',
  'probe',
  'probed',
  'view',
  'digest',
  'swap',
  'swapped',
  'news',
  'read',
  'write',
  'remove',
  'fill',
  'renew',
  'release',
  'cancel',
  'hit',
  'absent',
  'waiting',
  'lease',
  'loaded',
  'written',
  'removed',
  'filled',
  'notOwner',
  'overloaded',
  'broken',
  'readMany',
  'found',
  'compareAndSet',
  'touch',
  'add',
  'clear',
  'keys',
  'compared',
  'touched',
  'added',
  'cleared',
  'page',
  'forgotten',
  'kept',
  'follow',
  'followed',
  'idle',
  'drop',
  'tooLarge',
  'explain',
  'explained',
  'demand',
  'census',
  'permits',
  'filterCompare',
  'filterAdd',
  'filterPrints',
  'filterPull',
  'filterTold',
  'filterPrinted',
  'filterPart',
  'ticket',
  'ticketed',
  'originHas',
  'heeded',
  'readCopy',
  'copies',
  'copied',
  'peek',
  'peeked',
  'offer',
  'offered',
  'list',
  'listed',
  'pull',
  'pulled',
  'flush',
  'flushed',
  'unacked',
  'confirm',
  'confirmed',
  'hot'
] as const satisfies readonly Kind[]

const gossip = { teller: peerText, records: members }

export type MemberGossip = Fields<typeof gossip>

/** Records of members as bytes of their own, with the one who tells them. */
export function writeGossip(to: ByteWriter, told: MemberGossip): void {
  writeFields(gossip, to, told)
}

export function readGossip(from: ByteReader): MemberGossip {
  const told = readFields(gossip, from)
  from.end('gossip')
  return told
}
