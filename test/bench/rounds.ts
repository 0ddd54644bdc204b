/**
 * Interleaved rounds. Each round runs every contender for a short slice, and each round begins with another one, so
 * that what the machine does meanwhile (heat, neighbours, a timer) falls on all of them alike. A figure is the median of
 * the rounds; a ratio is the median of the ratios within one round, which is steadier than a ratio of two medians.
 */

export async function interleaved<T>(
  names: readonly string[],
  rounds: number,
  measure: (name: string) => Promise<T>
): Promise<ReadonlyMap<string, readonly T[]>> {
  const results = new Map<string, T[]>(names.map(name => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length] as string
      results.get(name)?.push(await measure(name))
    }
  }
  return results
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

/** How many times as large ours are as theirs, round by round. */
export function ratioOf(ours: readonly number[], theirs: readonly number[]): number {
  return median(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)))
}

/** The value below which this share of all lies. */
export function quantile(values: Float64Array, share: number): number {
  if (values.length === 0) return Number.NaN
  const sorted = values.toSorted()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number
}
