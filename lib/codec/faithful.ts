/**
 * A walk over a value before it is encoded, so that what comes back is what went in.
 *
 * Serialisers mend silently: a promise becomes `{}`, a Decimal a bag of digits, a function nothing at all. In a cache
 * that is an hour of wrong answers in some processes and right ones in others. So everything that would not survive is
 * refused here, with the path to it and what to do.
 *
 * The walk keeps no path and no set of visited objects: a refusal collects its path while the calls return, and a cycle
 * shows itself by running over `DEPTH_MAX`. An object that is reached twice is two copies afterwards; the total is
 * bounded, so shared parts cannot be folded into something that unfolds without end.
 *
 * Not promised: what is not enumerable is not looked at and does not travel; getters are read, and once more while
 * encoding; names given to an array of more than `NAMED_ITEMS_MAX` items are dropped.
 */
import { type Kind, kindOf, nameOf } from './kinds.ts'
import { isWellFormed } from './text.ts'

/** How many objects may be nested in one another. Data is rarely deeper than ten; a cycle always is. */
export const DEPTH_MAX = 64

/** No value encodes to fewer bytes than this walk counts, and none of this size fits into a frame. */
const BYTES_MAX = 16 * 1024 * 1024

const NAMED_ITEMS_MAX = 64
const BYTE_ORDER_MARK = 0xfeff

export interface Refusal {
  readonly path: string
  readonly reason: string
  readonly tooLarge: boolean
}

/** `plain` is what JSON knows, and undefined; `rich` holds what MessagePack alone would not bring back. */
export type Verdict = 'plain' | 'rich'

export function inspect(value: unknown): Verdict | Refusal {
  const walk: Walk = { isRich: false, bytes: 0 }
  const problem = check(value, 0, walk) ?? (walk.bytes > BYTES_MAX ? tooLarge() : undefined)
  if (problem !== undefined) return report(problem)
  return walk.isRich ? 'rich' : 'plain'
}

interface Walk {
  isRich: boolean
  /** A lower bound of what the value takes once encoded. */
  bytes: number
}

/** A refusal on its way up: the steps from the innermost outwards, and the objects they were made in. */
interface Found {
  readonly reason: string
  readonly kind: 'unfit' | 'deep' | 'large'
  readonly steps: string[]
  readonly trail: object[]
}

function check(value: unknown, depth: number, walk: Walk): Found | undefined {
  walk.bytes += 1
  switch (typeof value) {
    case 'string':
      return checkText(value, walk)
    case 'number':
      if (Object.is(value, -0)) walk.isRich = true
      return undefined
    case 'bigint':
      walk.isRich = true
      return undefined
    case 'boolean':
    case 'undefined':
      return undefined
    case 'object':
      return value === null ? undefined : checkObject(value, depth, walk)
    default:
      return found(`is a ${typeof value}: store plain data`)
  }
}

function checkText(text: string, walk: Walk): Found | undefined {
  if (!isWellFormed(text)) return found('holds half of a surrogate pair: use toWellFormed() on it')
  walk.bytes += text.length
  // Decoders take a leading byte order mark for a sign to them and drop it.
  if (text.charCodeAt(0) === BYTE_ORDER_MARK) walk.isRich = true
  return undefined
}

function checkObject(value: object, depth: number, walk: Walk): Found | undefined {
  if (depth >= DEPTH_MAX) return found(`is nested deeper than ${DEPTH_MAX}: store flatter data`, 'deep')
  if (walk.bytes > BYTES_MAX) return tooLarge()
  const kind = kindOf(value)
  if (kind === 'Object') return checkRecord(value as Record<string, unknown>, depth, walk)
  if (kind === 'Array') return checkArray(value as readonly unknown[], depth, walk)
  walk.isRich = true
  return checkRich(value, kind, depth, walk)
}

function checkRich(value: object, kind: Kind, depth: number, walk: Walk): Found | undefined {
  switch (kind) {
    case 'other':
      return found(describeStranger(value))
    case 'Map':
      return checkMap(value as ReadonlyMap<unknown, unknown>, depth, walk)
    case 'Set':
      return checkSet(value as ReadonlySet<unknown>, depth, walk)
    case 'Date':
      return undefined
    default:
      walk.bytes += (value as ArrayBufferView | ArrayBuffer).byteLength
      return undefined
  }
}

function checkRecord(record: Record<string, unknown>, depth: number, walk: Walk): Found | undefined {
  if (hasSymbolKeys(record)) return found('has a key that is a symbol: use strings as keys')
  for (const key of Object.keys(record)) {
    if (key === '__proto__') return found("has a key '__proto__': rename it")
    const problem = checkText(key, walk) ?? check(record[key], depth + 1, walk)
    if (problem !== undefined) return within(problem, stepOf(key), record)
  }
  return undefined
}

function checkArray(items: readonly unknown[], depth: number, walk: Walk): Found | undefined {
  for (let i = 0; i < items.length; i++) {
    const item = items[i]
    const problem = isHole(items, i, item) ? found('is a hole: fill the array') : check(item, depth + 1, walk)
    if (problem !== undefined) return within(problem, `[${i}]`, items)
  }
  if (items.length <= NAMED_ITEMS_MAX && Object.keys(items).length !== items.length)
    return found('is an array with named properties: store [...array] or an object')
  return undefined
}

function checkMap(map: ReadonlyMap<unknown, unknown>, depth: number, walk: Walk): Found | undefined {
  let i = 0
  for (const [key, value] of map) {
    const badKey = check(key, depth + 1, walk)
    if (badKey !== undefined) return within(badKey, `.keys()[${i}]`, map)
    const badValue = check(value, depth + 1, walk)
    if (badValue !== undefined) return within(badValue, typeof key === 'string' ? getOf(key) : `.values()[${i}]`, map)
    i++
  }
  return undefined
}

function checkSet(set: ReadonlySet<unknown>, depth: number, walk: Walk): Found | undefined {
  let i = 0
  for (const member of set) {
    const problem = check(member, depth + 1, walk)
    if (problem !== undefined) return within(problem, `.values()[${i}]`, set)
    i++
  }
  return undefined
}

function isHole(items: readonly unknown[], index: number, item: unknown): boolean {
  return item === undefined && !Object.hasOwn(items, index)
}

function hasSymbolKeys(record: object): boolean {
  const symbols = Object.getOwnPropertySymbols(record)
  return symbols.length > 0 && symbols.some(symbol => Object.prototype.propertyIsEnumerable.call(record, symbol))
}

function describeStranger(value: object): string {
  const name = nameOf(value)
  if (typeof (value as { then?: unknown }).then === 'function') return `is ${name}: was an await forgotten?`
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  if (tag === 'Error') return `is ${name}: store what it says, or throw it`
  if (tag === 'RegExp') return `is ${name}: store its source and flags`
  if (tag === 'URL') return `is ${name}: store its href`
  return `is ${name}: register a codec or store plain data`
}

function tooLarge(): Found {
  return found(`is over ${BYTES_MAX} bytes: store it in parts`, 'large')
}

function found(reason: string, kind: Found['kind'] = 'unfit'): Found {
  return { reason, kind, steps: [], trail: [] }
}

function within(problem: Found, step: string, object: object): Found {
  problem.steps.push(step)
  problem.trail.push(object)
  return problem
}

function report(problem: Found): Refusal {
  const steps = problem.steps.slice().reverse()
  const cycle = problem.kind === 'deep' ? cycleOf(problem.trail.slice().reverse(), steps) : undefined
  if (cycle !== undefined) return { ...cycle, tooLarge: false }
  return { path: pathOf(steps), reason: problem.reason, tooLarge: problem.kind === 'large' }
}

/** The first object on the way down that was met before: where it was met again, and where first. */
function cycleOf(objects: readonly object[], steps: readonly string[]): { path: string; reason: string } | undefined {
  const metAt = new Map<object, number>()
  for (const [depth, object] of objects.entries()) {
    const first = metAt.get(object)
    if (first !== undefined)
      return {
        path: pathOf(steps.slice(0, depth)),
        reason: `refers back to ${pathOf(steps.slice(0, first))}: break the cycle`
      }
    metAt.set(object, depth)
  }
  return undefined
}

/** `value.items[3]`; of a long way only both ends. */
function pathOf(steps: readonly string[]): string {
  const shown = steps.length <= 12 ? steps : [...steps.slice(0, 8), '…', ...steps.slice(-3)]
  return `value${shown.join('')}`
}

function stepOf(key: string): string {
  if (/^[\p{L}_$][\p{L}\p{N}_$]{0,39}$/u.test(key)) return `.${key}`
  return `[${quoted(key)}]`
}

function getOf(key: string): string {
  return `.get(${quoted(key)})`
}

function quoted(key: string): string {
  return JSON.stringify(key.length <= 40 ? key : `${key.slice(0, 39)}…`)
}
