/** What the tests of storms share: callers in all processes at once, and what they and the origin had of it. */
import type { Key } from '../../lib/codec/keys.ts'
import type { Load, ReadPlan, Tally } from './member.ts'
import { type MemberProcess, type Processes, total, until } from './processes.ts'

/** Both ways to load: by the owner's registered loader, and by the first caller's own. */
export const KINDS = [
  { how: 'get', cache: 'products' },
  { how: 'getOrSet', cache: 'plain' }
] as const

export interface Storm {
  readonly got: Tally
  readonly loads: readonly Load[]
}

/** All of them at once, each with as many callers as the plan says. */
export async function stormOf(
  processes: Processes,
  members: readonly MemberProcess[],
  plan: ReadPlan,
  meanwhile: () => Promise<unknown> = async () => {}
): Promise<Storm> {
  const before = processes.loads.length
  const tallies = members.map(member => member.ask('read', plan))
  const [got] = await Promise.all([Promise.all(tallies), meanwhile()])
  return { got: total(got), loads: processes.loads.slice(before) }
}

export function loadedBy(keys: readonly Key[], callers: number): Tally {
  return Object.fromEntries(keys.map(key => [JSON.stringify({ value: `loaded ${String(key)}` }), callers]))
}

/** How often the origin was called for each of these keys. */
export function callsOf(loads: readonly Load[], keys: readonly Key[]): number[] {
  const counts = new Map<Key, number>()
  for (const { key } of loads) counts.set(key, (counts.get(key) ?? 0) + 1)
  return keys.map(key => counts.get(key) ?? 0)
}

export function spread(calls: readonly number[]): string {
  const counts = new Map<number, number>()
  for (const each of calls) counts.set(each, (counts.get(each) ?? 0) + 1)
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([each, keys]) => `${keys} × ${each}`)
    .join(', ')
}

/** Resolves when so many more callers have begun to wait than at the time of the call, and the owners have been asked. */
export async function waiting(members: readonly MemberProcess[], callers: number): Promise<() => Promise<void>> {
  const before = await progress(members)
  return async () => {
    await until('all wait for the load', 10_000, async () => {
      const { begun, served } = await progress(members)
      // Whoever does not own the key has asked its owner.
      return begun - before.begun >= callers && served - before.served >= members.length - 1
    })
  }
}

async function progress(members: readonly MemberProcess[]): Promise<{ begun: number; served: number }> {
  const begun = await Promise.all(members.map(member => member.ask('begun')))
  const stats = await Promise.all(members.map(member => member.ask('stats')))
  return { begun: sum(begun), served: sum(stats.map(each => each.requestsServedTotal)) }
}

export async function fatesOf(
  members: readonly MemberProcess[]
): Promise<{ errors: number; ownErrors: number; slowestMs: number }> {
  const fates = await Promise.all(members.map(member => member.ask('fates')))
  return {
    errors: sum(fates.map(each => each.errors)),
    ownErrors: sum(fates.map(each => each.ownErrors)),
    slowestMs: Math.round(Math.max(...fates.map(each => each.slowestMs)))
  }
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}
