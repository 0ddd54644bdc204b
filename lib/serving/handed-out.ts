/**
 * From an answer to the value that its caller gets: decoded for this caller alone, or frozen and the same for all who
 * read one near copy.
 */
import { freeze } from '../codec/freeze.ts'
import type { Key } from '../codec/keys.ts'
import type { CacheDefinition } from '../fill/definition.ts'
import type { NearCopy } from '../near/near-cache.ts'
import type { Found } from './many-reads.ts'
import type { Stored } from './question.ts'

export function handedOut(definition: CacheDefinition, key: Key, answer: Stored | NearCopy | undefined): unknown {
  if (answer === undefined) return undefined
  if ('isShared' in answer && answer.isShared) return answer.value
  const value = definition.codec.decode(answer.bytes, { cache: definition.name, key: String(key) })
  if (!definition.isFrozen) return value
  const isWhole = freeze(value)
  if ('isShared' in answer && isWhole) {
    answer.isShared = true
    answer.value = value
  }
  return value
}

/** Of one of many: its own failure, or its own value that cannot be read, is nobody else's. */
export function settledOf(definition: CacheDefinition, key: Key, found: Found): PromiseSettledResult<unknown> {
  try {
    if (found !== undefined && 'error' in found) throw found.error
    return { status: 'fulfilled', value: handedOut(definition, key, found) }
  } catch (reason) {
    return { status: 'rejected', reason }
  }
}
