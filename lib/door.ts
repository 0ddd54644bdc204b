/**
 * Checks at the door, shared by all that takes options: what was expected, what was given, what to write instead. A
 * default that guesses is found in production.
 */
import { got, MeshError } from './base/errors.ts'
import { durationMs, TIMER_MS_MAX } from './base/units.ts'
import { isWellFormed, utf8Bytes } from './codec/text.ts'

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
