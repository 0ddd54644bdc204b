/**
 * Checks at the door, shared by all that takes options: what was expected, what was given, what to write instead. A
 * default that guesses is found in production.
 */
import { got, MeshError } from './base/errors.ts'
import { durationMs, TIMER_MS_MAX } from './base/units.ts'
import { isWellFormed, utf8Bytes } from './codec/text.ts'
import { ACKS_ALL } from './rpc/words.ts'

const NAME_BYTES_MAX = 200

/** Fails at a name that is none: a misspelt option would otherwise be a default nobody chose. */
export function checkNames(given: unknown, known: ReadonlySet<string>, where: string): void {
  if (typeof given !== 'object' || given === null) {
    throw new MeshError('ERR_MESH_OPTION', `Expected the options of ${where} to be an object, got ${got(given)}.`)
  }
  for (const name of Object.keys(given)) {
    if (known.has(name)) continue
    throw new MeshError('ERR_MESH_OPTION', `Unknown option '${name}' of ${where}. Known are ${[...known].join(', ')}.`)
  }
}

export function checkSignal(signal: unknown, where: string): void {
  if (signal === undefined || signal instanceof AbortSignal) return
  throw new MeshError('ERR_MESH_OPTION', `Expected signal of ${where} to be an AbortSignal, got ${got(signal)}.`)
}

/** A duration that a timer is set for. */
export function timerMs(value: unknown, what: string): number {
  const ms = durationMs(value, what)
  if (ms <= TIMER_MS_MAX) return ms
  throw new MeshError('ERR_MESH_OPTION', `Expected ${what} to be at most 24 days, got ${got(value)}.`)
}

export function refuse(what: string, expected: string, value: unknown, advice: string): never {
  throw new MeshError('ERR_MESH_OPTION', `Expected ${what} to be ${expected}, got ${got(value)}. ${advice}`)
}

/** How many backups a change waits for: a number, each there is, or so many that with the primary they are more than half. */
export type BackupAcks = number | 'all' | 'quorum'

/** As it travels: a number, or `ACKS_ALL`. */
export function acksOf(acks: unknown, backups: number, what: string): number {
  if (acks === 'all') return ACKS_ALL
  if (acks === 'quorum') return Math.floor((1 + backups) / 2)
  if (!(typeof acks === 'number' && Number.isInteger(acks) && acks >= 0)) {
    return refuse(what, "a whole number, 'all' or 'quorum'", acks, "1 waits for one backup; 'all' for each there is.")
  }
  if (acks <= backups) return acks
  return refuse(
    what,
    `at most ${backups}, for it has ${backups} backups`,
    acks,
    `Declare it with backups: ${acks}, or write 'all'.`
  )
}

export function checkText(value: unknown, what: string, advice: string): string {
  if (isName(value)) return value
  return refuse(
    what,
    `a text of 1 to ${NAME_BYTES_MAX} bytes of UTF-8`,
    value,
    `${advice[0]?.toUpperCase()}${advice.slice(1)}.`
  )
}

/** Names travel in every hello: short, and the same text when they arrive as when they left. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && isWellFormed(value) && utf8Bytes(value) <= NAME_BYTES_MAX
}
