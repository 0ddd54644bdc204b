/**
 * Messages about copies of records: kept by backups, handed over when owners change, compared and repaired. A part of
 * the one table of `messages.ts`.
 */
import { TAGS_BYTES_MAX } from '../codec/tags.ts'
import { bytes, count, type Fields, flag, listOf, object, oneOf, optional, real } from './fields.ts'
import { backups, keyText, namespaceText, once, peerText, valueBytes } from './words.ts'

/** Records of one batch or page; it is closed earlier by its bytes. */
const RECORDS_MAX = 4_096
/** Partitions named by one message. */
const PARTITIONS_MAX = 16_384
/** Floors that a member knows, and that may be told before each folds as many as it has too many. */
const FLOORS_MAX = 65_536

const version = { stamp: real, writer: peerText }
const name = { namespace: namespaceText, key: keyText }

/** How a value is kept beyond its TTL, in times of the mesh clock (`store/keeping.ts`). */
const keeping = optional(
  object({
    freshUntilMs: real,
    revalidateUntilMs: real,
    aheadFromMs: real,
    earlyMs: real,
    shadowUntilMs: real,
    tags: bytes(TAGS_BYTES_MAX, 'tags')
  })
)

/** A record as it lies in a store; its partition is found from its key. */
const record = object({
  ...name,
  ...version,
  kind: oneOf('value', 'tombstone'),
  negative: flag,
  backups,
  expiresAtMs: real,
  bytes: valueBytes,
  keeping
})

/** Which change this was and what its writer was told, so that whoever is primary next does not make it again. */
const answer = object({
  partition: count,
  peer: peerText,
  ...once,
  reply: oneOf('written', 'removed', 'compared', 'added', 'touched', 'forgotten'),
  stamp: real,
  writer: peerText,
  existed: flag,
  value: real,
  expiresAtMs: real
})

/** What a member holds of a partition: how many records, and the sum of their versions. */
const holding = object({ partition: count, count, low: count, high: count, heat: count })

/** What lies below is dead: a cache that was cleared, or a part of it; what has a tag. */
const floor = object({
  kind: oneOf('prefix', 'tag', 'tagged'),
  namespace: namespaceText,
  text: keyText,
  stamp: real,
  atMs: real
})

export const REPLICA_LAYOUTS = {
  /**
   * To a backup, because the primary cannot be reached or is slow: what it has. `floorStamp`: the highest version the
   * asker has seen of the partition; a copy that has not come as far says nothing. `mayFill`: it may call the origin.
   */
  readCopy: {
    ...name,
    mode: oneOf('stored', 'load', 'lease'),
    wish: oneOf('usual', 'fresh', 'refresh', 'warm'),
    floorStamp: real,
    mayFill: flag
  },
  /**
   * In order, from the primary to a backup: what has changed. `delivers`: the sender is primary no more, and brings on
   * what it has made while it was.
   */
  copies: {
    viewHash: real,
    delivers: flag,
    records: listOf(object({ record, answer: optional(answer) }), RECORDS_MAX, 'records'),
    /** To who keeps copies only now: what was answered of late about such keys, so that it is not done again there. */
    answers: listOf(answer, RECORDS_MAX, 'answers'),
    /** Given up by the primary for want of room. */
    evicted: listOf(object({ ...name, ...version }), RECORDS_MAX, 'evicted'),
    /** What the primary has of these partitions at this very place of the stream, at this time of the mesh clock. */
    atMs: real,
    digests: listOf(holding, PARTITIONS_MAX, 'digests'),
    floors: listOf(floor, FLOORS_MAX, 'floors')
  },
  copied: {
    viewHash: real,
    /** By their place in the batch: what is not held here, and why. `newer`: a higher version is. */
    refused: listOf(object({ place: count, why: oneOf('moved', 'room', 'newer'), ...version }), RECORDS_MAX, 'refused'),
    /** And how many records of them are here. */
    differing: listOf(object({ partition: count, count }), PARTITIONS_MAX, 'differing'),
    /** What is dead here, where a record came that is: its sender has not heard of it. */
    floors: listOf(floor, FLOORS_MAX, 'floors')
  },
  /** By a primary that is not level yet: what do you have of this key? Answered at once, whatever it is. */
  peek: { ...name, change: optional(object({ peer: peerText, boot: real, number: real })) },
  /**
   * `final`: the sender had the say until it passed it to the asker, so nobody has anything newer. By its view it knows
   * who else may have something; an asker with another one may not.
   */
  peeked: { record: optional(record), answer: optional(answer), final: flag, viewHash: real },
  /** To the primary of these partitions: what we hold of them and are not sure that it has. Complete with `last`. */
  offer: {
    viewHash: real,
    /** How many tables the sender has had: what it was offered in one before is to be offered again. */
    tables: count,
    last: flag,
    holdings: listOf(holding, PARTITIONS_MAX, 'holdings'),
    /** What writers of these partitions were told of late. What is equal is not pulled, and they may ask again. */
    answers: listOf(answer, RECORDS_MAX, 'answers'),
    floors: listOf(floor, FLOORS_MAX, 'floors')
  },
  /** Those of them that it and its backups have in full. Whoever is no replica may forget these. */
  offered: {
    viewHash: real,
    tables: count,
    level: listOf(count, PARTITIONS_MAX, 'level'),
    floors: listOf(floor, FLOORS_MAX, 'floors')
  },
  /** The versions of a partition, or its records, in the order of their names from `after` on. */
  list: { viewHash: real, partition: count, after: object(name) },
  listed: { versions: listOf(object({ ...name, ...version, expiresAtMs: real }), RECORDS_MAX, 'versions'), last: flag },
  /** Records of these partitions; of the first from `after` on; where names are given, of the first partition and only these. */
  pull: {
    viewHash: real,
    partitions: listOf(count, PARTITIONS_MAX, 'partitions'),
    after: object(name),
    names: listOf(object(name), RECORDS_MAX, 'names'),
    /** A page ends at the first record beyond it. */
    bytesMax: count
  },
  /** How many of the partitions, or of the names, this page covers whole; the next goes on after its last record. */
  pulled: {
    covered: count,
    records: listOf(record, RECORDS_MAX, 'records'),
    answers: listOf(answer, RECORDS_MAX, 'answers')
  },
  /** Is what was changed here until now held by so many backups? Answered when it is, or `untilMs` is over. */
  flush: { backupAcks: count, untilMs: real },
  flushed: { acked: count, wanted: count },
  /** The change was made, and so many backups have it, fewer than were wanted. `taken` as in `written`. */
  unacked: { ...version, taken: flag, acked: count, wanted: count, missing: listOf(peerText, 16, 'missing') }
} as const

export type Answered = Fields<typeof REPLICA_LAYOUTS.copies>['records'][number]['answer']
export type RecordFields = Fields<typeof REPLICA_LAYOUTS.pulled>['records'][number]
export type Holding = Fields<typeof REPLICA_LAYOUTS.offer>['holdings'][number]
export type Floor = Fields<typeof REPLICA_LAYOUTS.offer>['floors'][number]
