import { describe, expect, it } from 'vitest'
import { decodeTags, encodeTags } from '../../../lib/codec/tags.ts'

describe('tags', () => {
  it('come back each once, in the order of their text', () => {
    expect(decodeTags(encodeTags(['b', 'ä', 'a', 'b'], 'tags'))).toEqual(['a', 'b', 'ä'])
    expect([encodeTags(undefined, 'tags').length, encodeTags([], 'tags').length]).toEqual([0, 0])
  })

  it.each([
    ['one text', 'a'],
    ['an empty one', ['']],
    ['a number', [1]],
    ['half a character', ['\ud800']],
    ['one too long', ['x'.repeat(201)]],
    ['too many', Array.from({ length: 65 }, (_, i) => `t${i}`)]
  ])('refuse %s and say what to write', (_, tags) => {
    expect(() => encodeTags(tags, 'the tags')).toThrow(
      /Expected the tags to be at most 64 texts .* Write tags: \['user:42'\]/
    )
  })

  it('of bytes that are none are what can be read of them', () => {
    expect(decodeTags(Uint8Array.of(200, 65, 66))).toEqual(['AB'])
  })
})
