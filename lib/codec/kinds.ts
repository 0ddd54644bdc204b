/**
 * What an object is, for those who must not be fooled: the kinds that can travel, and `other` for everything else.
 *
 * `instanceof` fails for a Map of another realm (a `vm` context, as some test runners give each file) and succeeds for
 * a subclass, whose methods would be lost on the way. Here a kind means: this built-in type exactly, of any realm.
 */

export const VIEW_NAMES = [
  'Uint8Array',
  'Int8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array'
] as const

export type BytesKind = (typeof VIEW_NAMES)[number] | 'Buffer' | 'ArrayBuffer' | 'DataView'
export type Kind = 'Object' | 'Array' | 'Map' | 'Set' | 'Date' | BytesKind | 'other'

const NAMED_KINDS: ReadonlySet<string> = new Set(['Map', 'Set', 'Date', 'ArrayBuffer'])

/** Tells the type of a typed array by what it is inside, whatever its prototype says. */
const nameOfView = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype) as object,
  Symbol.toStringTag
)?.get as (this: unknown) => Kind | undefined

export function kindOf(value: object): Kind {
  const prototype = Object.getPrototypeOf(value) as object | null
  if (prototype === Object.prototype || prototype === null) return 'Object'
  if (Array.isArray(value)) return prototype === Array.prototype || isBuiltIn(prototype, 'Array') ? 'Array' : 'other'
  if (ArrayBuffer.isView(value)) return kindOfView(value, prototype)
  if (isRootPrototype(prototype)) return 'Object'
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  return NAMED_KINDS.has(tag) && isBuiltIn(prototype, tag) ? (tag as Kind) : 'other'
}

/** How a value that is not plain is called in a message. */
export function nameOf(value: object): string {
  const prototype = Object.getPrototypeOf(value) as object | null
  const name = prototype === null ? '' : constructorName(prototype)
  if (name === '' || name === 'Object') return 'an object with a prototype of its own'
  return `${/^[AEIOU]/i.test(name) ? 'an' : 'a'} ${name.slice(0, 60)}`
}

function kindOfView(value: ArrayBufferView, prototype: object): Kind {
  if (prototype === Buffer.prototype) return 'Buffer'
  const name = nameOfView.call(value) ?? 'DataView'
  return constructorName(prototype) === name && (name === 'DataView' || Object.hasOwn(prototype, 'BYTES_PER_ELEMENT'))
    ? name
    : 'other'
}

/** True for the prototype of a built-in class itself, not of a class that extends it. */
function isBuiltIn(prototype: object, name: string): boolean {
  return constructorName(prototype) === name && isRootPrototype(Object.getPrototypeOf(prototype) as object | null)
}

/** True for the Object.prototype of any realm. */
function isRootPrototype(prototype: object | null): boolean {
  return prototype !== null && Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf')
}

function constructorName(prototype: object): string {
  const maker = (prototype as { constructor?: unknown }).constructor
  return typeof maker === 'function' && typeof maker.name === 'string' ? maker.name : ''
}
