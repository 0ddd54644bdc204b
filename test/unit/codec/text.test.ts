import { describe, expect, it } from 'vitest'
import { cutText, utf8Bytes } from '../../../lib/codec/text.ts'

describe('text', () => {
  it.each(['', 'abc', 'é', '€', '😀', 'a😀€é', '\ud800', '\udc00a', '\ud800\ud800\udc00'])(
    'counts the bytes of %j',
    text => {
      expect(utf8Bytes(text)).toBe(Buffer.byteLength(text))
    }
  )

  it('cuts between characters', () => {
    expect(cutText('abcdef', 6)).toBe('abcdef')
    expect(cutText('abcdefg', 6)).toBe('abcde…')
    expect(cutText('abcd😀fg', 6)).toBe('abcd…')
  })
})
