/**
 * What the owner of a key has told of it, in the words and the time of the application.
 */
import type { Explanation } from './cache.ts'
import { decodeTags } from './codec/tags.ts'
import type { Version } from './fill/definition.ts'
import type { Clock } from './ports/clock.ts'
import type { Explained } from './serving/explanations.ts'
import { type MeshClock, stampMs, versionText } from './store/version.ts'

interface Time {
  readonly clock: Clock
  readonly meshClock: MeshClock
}

export function explanationOf(replicas: readonly string[], told: Explained, { clock, meshClock }: Time): Explanation {
  const { entry, fill, backOff, origin, mayExist, storePending, lines } = told
  const wallOf = (meshMs: number): number => Math.round(meshClock.wallOf(meshMs))
  return {
    owner: replicas[0] as string,
    replicas,
    entry: entry?.kind === 'value' ? entryOf(entry, wallOf) : undefined,
    deletedAt: entry?.kind === 'tombstone' ? wallOf(stampMs(entry.stamp)) : undefined,
    fill,
    backOff,
    origin,
    mayExist,
    storePending,
    lastEvents: lines.map(({ agoMs, what }) => ({ at: Math.round(clock.wall() - agoMs), what }))
  }
}

function entryOf(
  { stamp, writer, expiresAtMs, overAtMs, stale, negative, bytes, tags }: NonNullable<Explained['entry']>,
  wallOf: (meshMs: number) => number
): Explanation['entry'] {
  const version = versionText({ stamp, writer }) as Version
  const expiresAt = wallOf(expiresAtMs)
  return { version, expiresAt, overAt: wallOf(overAtMs), stale, negative, bytes, tags: decodeTags(tags) }
}
