/**
 * What many messages speak of: keys, caches, members, values, and which change this is.
 */
import { bytes, real, small, text } from './fields.ts'

/** A key is at most 1 KiB as text in memory; one prefix letter and JSON's escapes are on top. */
export const KEY_TEXT_MAX = 8 * 1024
export const NAMESPACE_TEXT_MAX = 1024
export const PEER_TEXT_MAX = 256
/** Values may be larger than `maxValueBytes` when a loader made them: then they are handed out and not kept. */
export const VALUE_BYTES_MAX = 15 * 1024 * 1024

export const keyText = text(KEY_TEXT_MAX, 'key')
export const namespaceText = text(NAMESPACE_TEXT_MAX, 'namespace')
export const peerText = text(PEER_TEXT_MAX, 'member id')
export const valueBytes = bytes(VALUE_BYTES_MAX, 'value')

/**
 * Which change of its writer this is, so that it is done at most once however often it is sent (PROTOCOL Q1). The
 * writer is the peer it comes from.
 */
export const once = {
  boot: real,
  number: real,
  /** The lowest number the writer may still send: what lies below may be forgotten. */
  openFrom: real,
  /** By the mesh clock. Past it the change is never made. */
  untilMs: real
}

/** Copies of a record beside the one at its primary. */
export const BACKUPS_MAX = 3
/** Of acknowledgements: of every backup there is. */
export const ACKS_ALL = 255

export const backups = small(BACKUPS_MAX, 'backups')

/** How many backups a record has, and how many of them a change waits for. */
export const copying = { backups, backupAcks: small(ACKS_ALL, 'acknowledgements') }
