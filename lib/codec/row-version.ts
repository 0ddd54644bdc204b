/**
 * The version of a row at its origin, as whoever hears of its changes gives it: a whole number, also as text, or the
 * place of a change in PostgreSQL's log (`16/B374D848`). As text of decimal digits, of any length that fits.
 *
 * Nothing else is taken, because what is not higher is not heeded: a text that does not sort as it grows, or a time that
 * two changes share, would leave an old value where it is, and nobody would notice.
 */
export const ROW_DIGITS_MAX = 64

const LSN = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})$/i

/** Undefined for what is none. */
export function rowVersionText(given: unknown): string | undefined {
  const whole = wholeOf(given)
  if (whole === undefined || whole < 0n) return undefined
  const text = String(whole)
  return text.length <= ROW_DIGITS_MAX ? text : undefined
}

function wholeOf(given: unknown): bigint | undefined {
  if (typeof given === 'bigint') return given
  if (typeof given === 'number') return Number.isSafeInteger(given) ? BigInt(given) : undefined
  if (typeof given !== 'string' || given.length > ROW_DIGITS_MAX) return undefined
  if (/^\d+$/.test(given)) return BigInt(given)
  const [, high, low] = LSN.exec(given) ?? []
  return high === undefined ? undefined : (BigInt(`0x${high}`) << 32n) + BigInt(`0x${low}`)
}

/** Of two that `rowVersionText` has made. */
export function isHigherRow(a: string, b: string): boolean {
  return a.length !== b.length ? a.length > b.length : a > b
}
