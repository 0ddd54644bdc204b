import { describe, expect, it } from 'vitest'
import { DEPTH_MAX, inspect } from '../../../lib/codec/faithful.ts'

function refusalOf(value: unknown): string {
  const verdict = inspect(value)
  return typeof verdict === 'string' ? verdict : `${verdict.path} ${verdict.reason}`
}

class Decimal {
  digits = [1, 9]
}

function cyclic(): unknown {
  const parent: { name: string; children: unknown[] } = { name: 'p', children: [] }
  parent.children.push({ name: 'c', parent })
  return { tree: parent }
}

function nested(levels: number): unknown {
  let value: unknown = 1
  for (let i = 0; i < levels; i++) value = [value]
  return value
}

describe('inspect', () => {
  it('tells plain from rich', () => {
    expect(inspect({ a: [1, 'x', null, undefined, true, Number.NaN] })).toBe('plain')
    for (const rich of [-0, 1n, new Map(), new Set(), new Date(), Buffer.alloc(1), '\ufeffx', { '\ufeffx': 1 }])
      expect(inspect([rich])).toBe('rich')
  })

  it.each([
    ['a class instance', { price: new Decimal() }, 'value.price is a Decimal: register a codec or store plain data'],
    [
      'a forgotten await',
      { items: [1, 2, 3, Promise.resolve()] },
      'value.items[3] is a Promise: was an await forgotten?'
    ],
    ['a promise alone', Promise.resolve(1), 'value is a Promise: was an await forgotten?'],
    [
      'a query that was not run',
      {
        rows: new (class Query {
          // biome-ignore lint/suspicious/noThenProperty: this is the case
          then() {}
        })()
      },
      'value.rows is a Query: was an await forgotten?'
    ],
    ['a function', { format: () => '' }, 'value.format is a function: store plain data'],
    ['a symbol', [Symbol('x')], 'value[0] is a symbol: store plain data'],
    ['an error', { failure: new TypeError('x') }, 'value.failure is a TypeError: store what it says, or throw it'],
    ['a regular expression', { pattern: /x/ }, 'value.pattern is a RegExp: store its source and flags'],
    ['a URL', { link: new URL('http://localhost') }, 'value.link is an URL: store its href'],
    ['a WeakMap', { w: new WeakMap() }, 'value.w is a WeakMap: register a codec or store plain data'],
    [
      'shared memory',
      { m: new SharedArrayBuffer(1) },
      'value.m is a SharedArrayBuffer: register a codec or store plain data'
    ],
    ['a boxed string', { s: Object('x') }, 'value.s is a String: register a codec or store plain data'],
    [
      'a subclass of Map',
      { m: new (class Index extends Map {})() },
      'value.m is an Index: register a codec or store plain data'
    ],
    [
      'a subclass of Array',
      { r: new (class Rows extends Array {})() },
      'value.r is a Rows: register a codec or store plain data'
    ],
    [
      'a subclass of Date',
      { d: new (class Day extends Date {})(0) },
      'value.d is a Day: register a codec or store plain data'
    ],
    [
      'a subclass of Uint8Array',
      { b: new (class Id extends Uint8Array {})(1) },
      'value.b is an Id: register a codec or store plain data'
    ],
    [
      'an object that inherits',
      { o: Object.create({ a: 1 }) },
      'value.o is an object with a prototype of its own: register a codec or store plain data'
    ],
    [
      'a __proto__ key',
      { user: JSON.parse('{"__proto__":{"admin":true}}') },
      "value.user has a key '__proto__': rename it"
    ],
    ['a symbol as a key', { o: { [Symbol('x')]: 1 } }, 'value.o has a key that is a symbol: use strings as keys'],
    // biome-ignore lint/suspicious/noSparseArray: this is the case
    ['a hole', { a: [1, , 2] }, 'value.a[1] is a hole: fill the array'],
    [
      'the match of a regular expression',
      { m: 'x'.match(/x/) },
      'value.m is an array with named properties: store [...array] or an object'
    ],
    [
      'half of a surrogate pair',
      { s: ['a\ud800'] },
      'value.s[0] holds half of a surrogate pair: use toWellFormed() on it'
    ],
    [
      'half of a surrogate pair in a key',
      { 'a\ud800': 1 },
      'value["a\\ud800"] holds half of a surrogate pair: use toWellFormed() on it'
    ],
    ['a value of a Map', { m: new Map([['k', () => 1]]) }, 'value.m.get("k") is a function: store plain data'],
    ['a key of a Map', { m: new Map([[() => 1, 1]]) }, 'value.m.keys()[0] is a function: store plain data'],
    ['a member of a Set', { s: new Set([1, () => 1]) }, 'value.s.values()[1] is a function: store plain data'],
    ['a cycle', cyclic(), 'value.tree.children[0].parent refers back to value.tree: break the cycle']
  ])('refuses %s with the path', (_, value, text) => {
    expect(refusalOf(value)).toBe(text)
  })

  it('draws the line of depth exactly', () => {
    expect(inspect(nested(DEPTH_MAX))).toBe('plain')
    expect(refusalOf(nested(DEPTH_MAX + 1))).toMatch(/^value(\[0\]){8}…(\[0\]){3} is nested deeper than 64/)
  })

  it('quotes odd keys and shortens long ones', () => {
    expect(refusalOf({ 'a b': () => 1 })).toBe('value["a b"] is a function: store plain data')
    expect(refusalOf({ ['k'.repeat(5000)]: () => 1 }).length).toBeLessThan(100)
  })

  it('looks at what is enumerable only', () => {
    const value = Object.defineProperty({ a: 1 }, 'hidden', { value: () => 1, enumerable: false })
    expect(inspect(Object.defineProperty(value, Symbol('hidden'), { value: 1, enumerable: false }))).toBe('plain')
  })

  it('counts what is reached often as often as it would be written', () => {
    for (const shared of ['x'.repeat(2 ** 20), Buffer.alloc(2 ** 20), { ['k'.repeat(2 ** 20)]: 1 }]) {
      expect(inspect(new Array(15).fill(shared))).toBeTypeOf('string')
      expect(inspect(new Array(17).fill(shared))).toMatchObject({ tooLarge: true })
    }
  })

  it('stops early in a value that unfolds without end', () => {
    let doubled: unknown = ['x'.repeat(1000)]
    for (let i = 0; i < 50; i++) doubled = [doubled, doubled]
    expect(inspect(doubled)).toMatchObject({ tooLarge: true })
  })
})
