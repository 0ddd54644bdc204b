/**
 * What a loader threw, as text that travels, and an error made from it again.
 *
 * A load runs in whichever process owns the key. If its error were handed on as it is, `instanceof NotFound` would hold
 * for one key in N. So it is always taken apart and rebuilt, also where it never left the process: name, message, code,
 * status, the plain fields an application put on it, and its causes.
 *
 * An error is written by the application and by its drivers, so nothing of it is trusted: getters may throw, objects
 * may go in circles, a message may be a whole page. The text is bounded, and shrinks by giving up first what helps
 * least. Fields that hold a request or an answer are left out: that is where credentials are, and errors end in logs.
 * The text may come from another process, so rebuilding takes anything, and never touches a prototype.
 */
import { cutText, utf8Bytes } from './text.ts'

/** The most that an encoded failure takes, in bytes of UTF-8. */
export const FAILURE_BYTES_MAX = 8 * 1024

/** A rebuilt error: what the loader threw, with plain fields instead of whatever it had. */
export type LoadFailure = Error & Record<string, unknown>

const CAUSES_MAX = 3
const NAME_UNITS_MAX = 100
const STACK_LINES_MAX = 4

interface Budget {
  readonly messageUnits: number
  readonly stackUnits: number
  readonly fields: number
  readonly fieldUnits: number
  readonly fieldDepth: number
  readonly causes: number
}

/** From generous to bare. The first that fits into `FAILURE_BYTES_MAX` is taken; the last always does. */
const BUDGETS: readonly Budget[] = [
  { messageUnits: 2_000, stackUnits: 800, fields: 20, fieldUnits: 500, fieldDepth: 3, causes: CAUSES_MAX },
  { messageUnits: 1_000, stackUnits: 400, fields: 20, fieldUnits: 60, fieldDepth: 1, causes: CAUSES_MAX },
  { messageUnits: 300, stackUnits: 0, fields: 5, fieldUnits: 60, fieldDepth: 1, causes: 1 },
  { messageUnits: 300, stackUnits: 0, fields: 0, fieldUnits: 60, fieldDepth: 0, causes: 0 }
]

/** What HTTP and database clients hang on their errors, with headers and passwords in it. */
const CARRIERS = new Set(['config', 'request', 'response', 'req', 'res', 'headers', 'options', 'socket', 'agent'])

/** A budget being spent: `room` is what all fields together may still take, so that no work is done to be thrown away. */
interface Telling extends Budget {
  room: number
}

/** Set apart from the other fields, or not wanted. */
const OWN_PLACE = new Set(['name', 'message', 'stack', 'cause', 'code', 'prototype'])

/** As it travels. Every field is optional: it may come from a member of another version. */
interface Encoded {
  name?: unknown
  message?: unknown
  code?: unknown
  stack?: unknown
  fields?: unknown
  cause?: unknown
}

export function encodeFailure(thrown: unknown): string {
  for (const budget of BUDGETS) {
    const text = tell(thrown, budget)
    if (text !== undefined && utf8Bytes(text) <= FAILURE_BYTES_MAX) return text
  }
  return JSON.stringify({ name: 'Error', message: 'the loader failed with an error that cannot be told' })
}

export function decodeFailure(text: string): LoadFailure {
  const encoded = text.length <= FAILURE_BYTES_MAX ? parse(text) : undefined
  return isObject(encoded) ? rebuild(encoded, CAUSES_MAX) : bare('Error', 'the loader failed; how is not known')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function tell(thrown: unknown, budget: Budget): string | undefined {
  try {
    return JSON.stringify(describe(thrown, { ...budget, room: FAILURE_BYTES_MAX }, budget.causes))
  } catch {
    // Reading is guarded where it is done; what is left are proxies that do not even say what they are.
    return undefined
  }
}

function describe(thrown: unknown, telling: Telling, causesLeft: number): Encoded {
  if (!isObject(thrown))
    return { name: 'Error', message: messageOfValue(thrown, telling), fields: fieldsOfValue(thrown) }
  const code = plain(read(thrown, 'code'), telling, 0)
  const cause = read(thrown, 'cause')
  return {
    name: nameOr('Error', read(thrown, 'name')),
    message: textOr(`the loader threw ${kindOfObject(thrown)}`, read(thrown, 'message'), telling.messageUnits),
    ...(code === undefined ? {} : { code }),
    stack: stackFrames(read(thrown, 'stack'), telling.stackUnits),
    fields: plainFields(thrown, telling, telling.fieldDepth),
    ...(cause === undefined || causesLeft === 0 ? {} : { cause: describe(cause, telling, causesLeft - 1) })
  }
}

/** Somebody wrote `throw 404`. */
function messageOfValue(thrown: unknown, telling: Telling): string {
  if (typeof thrown === 'string') return cutText(thrown, telling.messageUnits)
  const isShort = thrown === null || ['undefined', 'number', 'boolean'].includes(typeof thrown)
  return `the loader threw ${isShort ? `${thrown}` : `a ${typeof thrown}`}`
}

function fieldsOfValue(thrown: unknown): Record<string, unknown> {
  return typeof thrown === 'number' || typeof thrown === 'boolean' ? { thrown } : {}
}

function kindOfObject(thrown: object): string {
  return Array.isArray(thrown)
    ? 'an array'
    : typeof thrown === 'function'
      ? 'a function'
      : 'an object without a message'
}

/** Only where it happened; name and message would repeat. */
function stackFrames(stack: unknown, unitsMax: number): string | undefined {
  if (typeof stack !== 'string' || unitsMax === 0) return undefined
  const frames = stack
    .slice(0, 20_000)
    .split('\n')
    .filter(line => line.startsWith('    at '))
  return cutText(frames.slice(0, STACK_LINES_MAX).join('\n'), unitsMax)
}

/** The value as JSON can tell it, or undefined for what is left out. `depth` is how many objects may still nest. */
function plain(value: unknown, telling: Telling, depth: number): unknown {
  telling.room -= typeof value === 'string' ? Math.min(value.length, telling.fieldUnits) : 1
  if (telling.room < 0) return undefined
  if (value === null || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  if (typeof value === 'string') return cutText(value, telling.fieldUnits)
  if (typeof value === 'bigint') return BigInt.asIntN(64, value) === value ? `${value}` : undefined
  if (!isObject(value) || depth === 0) return undefined
  if (Array.isArray(value)) return value.slice(0, telling.fields).map(item => plain(item, telling, depth - 1) ?? null)
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null ? plainFields(value, telling, depth - 1) : undefined
}

function plainFields(object: object, telling: Telling, depth: number): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  let left = telling.fields
  for (const name of ownNames(object)) {
    if (left === 0) break
    if (!isFieldName(name) || CARRIERS.has(name)) continue
    const value = plain(read(object, name), telling, depth)
    if (value === undefined) continue
    fields[name] = value
    left -= 1
  }
  return fields
}

function rebuild(encoded: Encoded, causesLeft: number): LoadFailure {
  const error = bare(nameOr('Error', encoded.name), textOr('', encoded.message, FAILURE_BYTES_MAX))
  if (typeof encoded.stack === 'string') hide(error, 'stack', `${error.name}: ${error.message}\n${encoded.stack}`)
  if (encoded.code !== undefined && !isObject(encoded.code)) show(error, 'code', encoded.code)
  if (isObject(encoded.fields)) copyFields(encoded.fields, error)
  if (causesLeft > 0 && isObject(encoded.cause)) hide(error, 'cause', rebuild(encoded.cause, causesLeft - 1))
  return error
}

/** An error that shows nothing of the place where it was rebuilt: that is not where anything went wrong. */
function bare(name: string, message: string): LoadFailure {
  const error = new Error(message) as LoadFailure
  hide(error, 'name', name)
  hide(error, 'stack', `${name}: ${message}`)
  return error
}

function copyFields(from: object, to: object): void {
  for (const name of Object.keys(from)) if (isFieldName(name)) show(to, name, copyOf(read(from, name)))
}

function copyOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyOf)
  if (!isObject(value)) return value
  const copy = {}
  copyFields(value, copy)
  return copy
}

/** Not one that has a place of its own, and not one that would hide a method, as `toString` or `__proto__` would. */
function isFieldName(name: string): boolean {
  return !OWN_PLACE.has(name) && !(name in Error.prototype) && name.length <= NAME_UNITS_MAX
}

function ownNames(object: object): readonly string[] {
  try {
    return Object.keys(object)
  } catch {
    return []
  }
}

function read(object: object, name: string): unknown {
  try {
    return (object as Record<string, unknown>)[name]
  } catch {
    return undefined
  }
}

function nameOr(otherwise: string, name: unknown): string {
  return name === '' ? otherwise : textOr(otherwise, name, NAME_UNITS_MAX)
}

function textOr(otherwise: string, text: unknown, unitsMax: number): string {
  return typeof text === 'string' ? cutText(text, unitsMax) : otherwise
}

function show(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true })
}

function hide(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, enumerable: false, writable: true, configurable: true })
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}
