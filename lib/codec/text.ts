/**
 * What can be said of a string before it is turned into bytes: whether it survives, and how long it will be.
 *
 * UTF-8 has no place for half of a surrogate pair. Encoders put U+FFFD there without a word, so two different strings
 * become one; where that matters, the text is refused instead.
 */

interface WellFormed {
  isWellFormed(): boolean
}

/** False when a surrogate has no partner. Constant time for text that is Latin-1, as nearly all keys are. */
export function isWellFormed(text: string): boolean {
  // In every supported Node, but not yet in the library of types this project compiles with.
  return (text as unknown as WellFormed).isWellFormed()
}

/** How many bytes of UTF-8 a well-formed text takes; a lone surrogate counts as the three bytes of U+FFFD. */
export function utf8Bytes(text: string): number {
  let bytes = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    // A pair takes four bytes: its first half is counted as three here and its second as one.
    bytes += unit < 0x800 || opensPair(text, i) ? 1 : 2
    if (opensPair(text, i)) {
      bytes += 1
      i += 1
    }
  }
  return bytes
}

/** The first `unitsMax` code units, never half a pair, with an ellipsis where something is missing. */
export function cutText(text: string, unitsMax: number): string {
  if (text.length <= unitsMax) return text
  const end = opensPair(text, unitsMax - 2) ? unitsMax - 2 : unitsMax - 1
  return `${text.slice(0, end)}…`
}

function opensPair(text: string, at: number): boolean {
  const second = text.charCodeAt(at + 1)
  return (text.charCodeAt(at) & 0xfc00) === 0xd800 && (second & 0xfc00) === 0xdc00
}
