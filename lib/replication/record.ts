/**
 * A record as it lies in a store, and the same as it travels. On the way its partition is left out: whoever takes it
 * finds that from the key, and need not believe anybody.
 */
import type { RecordFields } from '../rpc/replica-talk.ts'
import type { Entry } from '../store/entry.ts'

export function recordOf(entry: Entry): RecordFields {
  const { namespace, key, version, kind, negative, backups, expiresAtMs, bytes, keeping } = entry
  const { stamp, writer } = version
  return { namespace, key, stamp, writer, kind, negative, backups, expiresAtMs, bytes, keeping }
}

export function entryOf(record: RecordFields, partition: number): Entry {
  const { namespace, key, stamp, writer, kind, negative, backups, expiresAtMs, bytes, keeping } = record
  const version = { stamp, writer }
  return { namespace, key, partition, version, kind, negative, backups, expiresAtMs, bytes, keeping }
}
