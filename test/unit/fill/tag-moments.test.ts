import { beforeEach, expect, it } from 'vitest'
import { encodeTags, NO_TAGS } from '../../../lib/codec/tags.ts'
import { TagMoments } from '../../../lib/fill/tag-moments.ts'

let moments: TagMoments
const tags = (...all: string[]): Uint8Array => encodeTags(all, 'tags')

beforeEach(() => {
  moments = new TagMoments()
})

it('tell the first time since a load began that one of its tags was invalidated', () => {
  moments.add('n', ['a', 'b'], 10)
  moments.add('n', ['a'], 20)
  moments.add('m', ['c'], 25)
  moments.add('', ['d'], 30)
  expect(moments.firstSince('n', tags('a'), 5)).toBe(10)
  expect(moments.firstSince('n', tags('a', 'b'), 11)).toBe(20)
  expect(moments.firstSince('n', tags('b'), 11)).toBeUndefined()
  expect(moments.firstSince('n', tags('c'), 5)).toBeUndefined()
  expect(moments.firstSince('n', tags('d', 'z'), 5)).toBe(30)
  expect(moments.firstSince('n', NO_TAGS, 5)).toBeUndefined()
})

it('that are too many are forgotten, and what began before counts as dead since then', () => {
  for (let i = 0; i < 10_000; i++) moments.add('n', [`t${i}`], i)
  expect(moments.firstSince('n', tags('other'), 100)).toBe(100)
  expect(moments.firstSince('n', tags('t9999'), 9_000)).toBe(9_999)
  expect(moments.firstSince('n', tags('other'), 9_000)).toBeUndefined()
})
