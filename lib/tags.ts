/**
 * Everything under a tag is gone, in one cache or in all: asked of every member, as a clear is. The writer of a value
 * gives the tags, and whoever invalidates one need not know which keys have it.
 */
import { MeshError } from './base/errors.ts'
import { changeWithin, checkCall, type DeleteOptions } from './calls.ts'
import { decodeTags, encodeTags } from './codec/tags.ts'
import { type CacheDefinition, mayBeStale } from './fill/definition.ts'
import type { Stats } from './observe/stats.ts'
import type { NearReads } from './serving/near-reads.ts'
import type { Surveys } from './serving/surveys.ts'
import { ALL_CACHES } from './store/floor.ts'

export interface TagsDeps {
  readonly surveys: Surveys
  readonly near: NearReads
  readonly stats: Stats
  readonly timeoutMs: number
}

/** All caches there are, whoever has declared them. */
const ANY_CACHE = { name: '', namespace: ALL_CACHES } as const

/** Without a definition: of all caches. */
export async function invalidateTags(
  { surveys, near, stats, timeoutMs }: TagsDeps,
  definition: CacheDefinition | undefined,
  tags: string | readonly string[],
  options: DeleteOptions | undefined
): Promise<void> {
  const about = definition ?? ANY_CACHE
  checkCall(options, 'invalidateTag', definition === undefined ? 'mesh' : 'cache', about.name)
  if (tags === undefined) throw noTags(definition)
  const texts = decodeTags(encodeTags(typeof tags === 'string' ? [tags] : tags, whatOf(definition)))
  if (texts.length === 0) return
  stats.tagsInvalidatedTotal += texts.length
  const soft = options?.soft === true && (definition === undefined || mayBeStale(definition))
  const work = changeWithin(timeoutMs, options, ms => surveys.clear(about, { kind: 'tag', texts, soft }, ms))
  await (soft && definition !== undefined ? near.changing(definition, undefined, work) : work)
}

function whatOf(definition: CacheDefinition | undefined): string {
  return definition === undefined ? 'the tags to invalidate' : `the tags to invalidate in cache '${definition.name}'`
}

function noTags(definition: CacheDefinition | undefined): MeshError {
  const text = `Expected ${whatOf(definition)} to be a text or a list of texts, got undefined. Write invalidateTag('user:42').`
  return new MeshError('ERR_MESH_OPTION', text, definition && { cache: definition.name })
}
