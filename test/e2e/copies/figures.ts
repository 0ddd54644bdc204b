/** From the calls of many processes to a few figures; exact, from every single call. */
import type { Calls, Failure } from './load.ts'

export interface Latency {
  readonly calls: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** Of the calls that were due from `fromMs` to before `toMs`. */
export function latencyOf(all: readonly Calls[], fromMs = Number.NEGATIVE_INFINITY, toMs = Infinity): Latency {
  const took = all
    .flatMap(({ dueMs, tookMs }) => [...tookMs].filter((_, i) => isWithin(dueMs[i] as number, fromMs, toMs)))
    .sort((a, b) => a - b)
  const at = (share: number): number => took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? Number.NaN
  return { calls: took.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}

export function failuresOf(all: readonly Calls[]): Failure[] {
  return all.flatMap(({ failures }) => failures).sort((a, b) => a.dueMs - b.dueMs)
}

function isWithin(ms: number, fromMs: number, toMs: number): boolean {
  return ms >= fromMs && ms < toMs
}

/** What a counter of bytes showed, and when. */
export interface Reading {
  readonly atMs: number
  readonly bytes: number
}

export interface Rate {
  readonly bytes: number
  readonly tookMs: number
  /** Bytes per second from the first byte to the last. */
  readonly average: number
  /** The most within any second. */
  readonly highest: number
}

/** How fast a counter rose, from the last reading before it began to the first after which it stood still. */
export function rateOf(readings: readonly Reading[]): Rate {
  const first = readings.findIndex((each, i) => each.bytes < (readings[i + 1]?.bytes ?? each.bytes))
  if (first === -1) return { bytes: 0, tookMs: 0, average: 0, highest: 0 }
  const end = readings.at(-1)?.bytes as number
  const moving = readings.slice(first, readings.findIndex(each => each.bytes === end) + 1)
  const [from, to] = [moving[0] as Reading, moving.at(-1) as Reading]
  const [bytes, tookMs] = [to.bytes - from.bytes, to.atMs - from.atMs]
  return { bytes, tookMs, average: (bytes / tookMs) * 1_000, highest: highestOf(moving) }
}

/**
 * Each window is the shortest of at least a second from one reading to another, so that nothing within a second can hide
 * between two readings; where it is longer, it is scaled.
 */
function highestOf(moving: readonly Reading[]): number {
  let highest = 0
  let to = 0
  for (const from of moving) {
    while (to < moving.length - 1 && (moving[to] as Reading).atMs - from.atMs < 1_000) to++
    const { atMs, bytes } = moving[to] as Reading
    highest = Math.max(highest, ((bytes - from.bytes) * 1_000) / Math.max(1_000, atMs - from.atMs))
  }
  return highest
}

export function inMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}

export function latencyText({ calls, p50Ms, p99Ms, maxMs }: Latency): string {
  return `${calls} calls, p50 ${inMs(p50Ms)}, p99 ${inMs(p99Ms)}, max ${inMs(maxMs)}`
}
