import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERROR_CODES, got, isMeshError, LoadError, MeshError, PartialError } from '../../../lib/base/errors.ts'

const LIB = resolve(import.meta.dirname, '../../../lib')

function sources(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap(entry =>
    entry.isDirectory() ? sources(join(dir, entry.name)) : [readFileSync(join(dir, entry.name), 'utf8')]
  )
}

describe('error codes', () => {
  it('are each used, and none is used that is not listed', () => {
    const used = new Set<string>()
    for (const text of sources(LIB)) {
      const body = text.slice(text.includes('ERROR_CODES = {') ? text.indexOf('} as const') : 0)
      for (const [code] of body.matchAll(/ERR_MESH_[A-Z_]+/g)) used.add(code)
    }
    expect([...used].sort()).toEqual(Object.keys(ERROR_CODES).sort())
  })
})

describe('errors', () => {
  it('carry code, names and whether trying again may help', () => {
    const error = new MeshError('ERR_MESH_TIMEOUT', 'late', { cache: 'c', key: 'k', member: 'm', cause: 'why' })
    expect(error).toMatchObject({
      code: 'ERR_MESH_TIMEOUT',
      retryable: true,
      cache: 'c',
      key: 'k',
      member: 'm',
      cause: 'why'
    })
    const bare = new MeshError('ERR_MESH_OPTION', 'wrong')
    expect(bare.retryable).toBe(false)
    expect(Object.hasOwn(bare, 'cause')).toBe(false)
  })

  it('are recognised across copies of the package, and nothing else is', () => {
    const foreign = Object.assign(new Error('of another copy'), {
      [Symbol.for('cachemesh.error')]: true,
      code: 'ERR_MESH_LEFT'
    })
    expect(isMeshError(foreign)).toBe(true)
    expect(isMeshError(foreign, 'ERR_MESH_LEFT')).toBe(true)
    expect(isMeshError(foreign, 'ERR_MESH_LOAD')).toBe(false)
    for (const other of [new Error('plain'), { code: 'ERR_MESH_LEFT' }, null, undefined, 'ERR_MESH_LEFT', 1])
      expect(isMeshError(other)).toBe(false)
  })

  it('of loads and batches keep what they are about', () => {
    const cause = Object.assign(new Error('down'), { code: 'E' })
    expect(new LoadError('failed', cause)).toMatchObject({
      name: 'LoadError',
      code: 'ERR_MESH_LOAD',
      cause,
      retryable: true
    })
    const partial = new PartialError('some', [1, undefined], new Map([[1, cause]]))
    expect(partial).toMatchObject({ code: 'ERR_MESH_PARTIAL', values: [1, undefined] })
    expect(partial.errors.get(1)).toBe(cause)
  })
})

describe('got', () => {
  it.each([
    [undefined, 'undefined'],
    [null, 'null'],
    ['x', "'x' (string)"],
    ['x'.repeat(41), 'a string of 41 characters'],
    [4, '4 (number)'],
    [4n, '4 (bigint)'],
    [true, 'true (boolean)'],
    [() => 1, 'a function'],
    [[1, 2], 'an array of 2'],
    [new Map(), 'an object (Map)'],
    [Object.create(null), 'an object (no prototype)'],
    [Symbol('s'), 'a symbol']
  ])('names %o as %s', (value, text) => {
    expect(got(value)).toBe(text)
  })
})
