/** Members, times and averages for the measurements of placement. */
import { saltOf } from '../../lib/placement/hash.ts'
import type { Placed } from '../../lib/placement/table.ts'

export const SALT = saltOf('bench')

export function membersOf(set: number, count: number): Placed[] {
  return Array.from({ length: count }, (_, i) => ({ id: `set-${set}-member-${i}`, weight: 1, host: `host-${i}` }))
}

export function millisecondsOf(work: () => unknown): number {
  const start = performance.now()
  work()
  return performance.now() - start
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

export function print(name: string, count: number, figures: Record<string, string>): void {
  const cells = Object.entries(figures).map(([label, figure]) => `${label} ${figure.padStart(6)}`)
  console.log(`${name.padEnd(22)} ${`${count}`.padStart(5)}  ${cells.join('  ')}`)
}
