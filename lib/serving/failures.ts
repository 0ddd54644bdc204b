/**
 * What a caller is told when a call to another member came to nothing. Each message says what became of the call, as
 * far as that is known here, and what to do.
 */
import { BackupsError, MeshError } from '../base/errors.ts'
import type { PeerId } from '../ports/transport.ts'
import type { CallFailed } from '../rpc/client.ts'
import type { Change, MessageOf, Reply } from '../rpc/messages.ts'

/** The cache or counter the call was about. */
interface About {
  readonly name: string
}

const WORDS: Partial<Record<Change['type'], string>> = { remove: 'delete', compareAndSet: 'comparison' }

/** A read that ended without a reply. */
export function callError(failed: CallFailed, { name }: About, member: PeerId): MeshError {
  const detail = { cache: name, member }
  switch (failed.end) {
    case 'overloaded':
      return overloaded({ name }, detail)
    case 'timeout':
      return new MeshError(
        'ERR_MESH_TIMEOUT',
        `Member ${member} did not answer in time (cache '${name}'). Raise timeout, or look at the health of that member.`,
        detail
      )
    case 'lost':
      return new MeshError('ERR_MESH_UNAVAILABLE', `The link to member ${member} was lost (cache '${name}').`, detail)
  }
}

export function overloaded({ name }: About, detail: { cache: string; member?: PeerId } = { cache: name }): MeshError {
  return new MeshError(
    'ERR_MESH_OVERLOADED',
    `Too many calls to one member are under way, or too many writes wait for the origin (cache '${name}'). Nothing was done; slow down and try again.`,
    detail
  )
}

export function unavailable({ name }: About): MeshError {
  return new MeshError(
    'ERR_MESH_UNAVAILABLE',
    `No member that owns the key can be reached (cache '${name}'). Nothing was done. Try again, or give the cache a loader to fall back on.`,
    { cache: name }
  )
}

/** A change that may have been made. `isRepeatable`: made twice it is the same as made once. */
export function outcomeUnknown({ name }: About, member: PeerId, why: string, isRepeatable: boolean): MeshError {
  const todo = isRepeatable ? 'Make it again, or read the key' : 'Read the key before it is made again'
  return new MeshError(
    'ERR_MESH_TIMEOUT',
    `Member ${member} ${why} (cache '${name}'): the outcome is unknown. ${todo}.`,
    { cache: name, member, outcome: 'unknown', retryable: isRepeatable }
  )
}

/** A change that was made, and that fewer backups have than its caller waits for. */
export function tooFewBackups(
  { name }: About,
  member: PeerId,
  change: Change['type'],
  { acked, wanted, missing }: MessageOf<'unacked'>,
  isRepeatable: boolean
): BackupsError {
  const who = missing.length === 0 ? 'there is no further member to hold one' : `still missing: ${missing.join(', ')}`
  const todo =
    change === 'remove'
      ? 'One that does not know of it may answer with the value if it becomes the owner: delete again.'
      : 'The change stays and is copied as soon as that is possible: wait with flush, read the key, or ask for fewer by backupAcks.'
  return new BackupsError(
    `The owner of the key, ${member}, has made this ${WORDS[change] ?? change} (cache '${name}'), and ${acked} of ${wanted} backups have it; ${who}. ${todo}`,
    { written: true, acked, wanted, missing },
    { cache: name, member, retryable: isRepeatable }
  )
}

/** A value that its owner can never keep, since it gives this cache, or all that it stores, less room than that. */
export function tooLarge({ name }: About, { recordBytes, recordBytesMax }: MessageOf<'tooLarge'>): MeshError {
  return new MeshError(
    'ERR_MESH_VALUE_TOO_LARGE',
    `Expected a value that takes at most ${recordBytesMax} bytes, which is all the room its owner has for '${name}', got one that takes ${recordBytes} with its key and overhead. Nothing was done. Raise maxBytes of '${name}' or the memory of its members, or cache something smaller.`,
    { cache: name }
  )
}

export function unexpected({ name }: About, reply: Reply): MeshError {
  if (reply.type === 'overloaded') return overloaded({ name })
  const why = reply.type === 'broken' ? reply.reason : `an answer of kind ${reply.type}`
  return new MeshError(
    'ERR_MESH_UNAVAILABLE',
    `The owner of the key could not serve the request (cache '${name}'): ${why}.`,
    { cache: name }
  )
}
