/**
 * What a message is made of: how one value is written and read, with the caps and checks of what comes from outside.
 * A layout is a list of named fields, and the type of a message is derived from it.
 */
import { type ByteReader, type ByteWriter, Malformed } from '../base/bytes.ts'

export interface Field<T> {
  write(to: ByteWriter, value: T): void
  read(from: ByteReader): T
}

export const flag: Field<boolean> = {
  write: (to, value) => to.u8(value ? 1 : 0),
  read: from => from.u8() === 1
}
export const count: Field<number> = { write: (to, value) => to.u32(value), read: from => from.u32() }
/** A whole number up to `max`, of one byte. */
export const small = (max: number, what: string): Field<number> => ({
  write: (to, value) => to.u8(value),
  read: from => inRange(from.u8(), max, what)
})
/** A finite number or Infinity; never NaN, which would poison every comparison it meets. */
export const real: Field<number> = {
  write: (to, value) => to.f64(value),
  read: from => {
    const value = from.f64()
    if (Number.isNaN(value)) throw new Malformed('a number is NaN')
    return value
  }
}
export const text = (max: number, what: string): Field<string> => ({
  write: (to, value) => to.text(value),
  read: from => from.text(max, what)
})
export const bytes = (max: number, what: string): Field<Uint8Array> => ({
  write: (to, value) => to.bytes(value),
  read: from => from.bytes(max, what)
})
export const oneOf = <const T extends readonly string[]>(...names: T): Field<T[number]> => ({
  write: (to, value) => to.u8(names.indexOf(value)),
  read: from => {
    const name = names[from.u8()]
    if (name === undefined) throw new Malformed(`none of ${names.join(', ')}`)
    return name
  }
})
export const listOf = <T>(field: Field<T>, max: number, what: string): Field<readonly T[]> => ({
  write: (to, values) => {
    to.u32(values.length)
    for (const value of values) field.write(to, value)
  },
  read: from => {
    const length = from.length(max, what)
    // No preallocation: a list is as long as the bytes that are really there.
    const values: T[] = []
    for (let i = 0; i < length; i++) values.push(field.read(from))
    return values
  }
})
/** One byte more, and nothing of it where there is none. */
export const optional = <T>(field: Field<T>): Field<T | undefined> => ({
  write: (to, value) => {
    flag.write(to, value !== undefined)
    if (value !== undefined) field.write(to, value)
  },
  read: from => (flag.read(from) ? field.read(from) : undefined)
})
export const object = <L extends Layout>(layout: L): Field<Fields<L>> => ({
  write: (to, value) => writeFields(layout, to, value),
  read: from => readFields(layout, from)
})

export function inRange(value: number, max: number, what: string): number {
  if (value >= 0 && value <= max) return value
  throw new Malformed(`${what} of ${value}`)
}

export type Layout = Readonly<Record<string, Field<never>>> | Readonly<Record<string, Field<unknown>>>
export type Fields<L> = { readonly [K in keyof L]: L[K] extends Field<infer T> ? T : never }

export function writeFields(layout: Layout, to: ByteWriter, value: object): void {
  for (const name in layout) (layout[name] as Field<unknown>).write(to, (value as Record<string, unknown>)[name])
}

export function readFields<L extends Layout>(layout: L, from: ByteReader): Fields<L> {
  const value: Record<string, unknown> = {}
  for (const name in layout) value[name] = (layout[name] as Field<unknown>).read(from)
  return value as Fields<L>
}
