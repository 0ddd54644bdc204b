/** The sections of the benchmark, each a question that somebody who chooses a cache would ask. */

import { Field, VALUE_BYTES } from './field.ts'
import type { BenchOptions, Section } from './options.ts'
import type { Processes } from './processes.ts'
import type { Case, Told } from './report.ts'
import { interleaved } from './rounds.ts'
import type { Listening } from './server.ts'
import type { Started, StartPlan } from './start.ts'
import type { Holder, WeighPlan, Weight } from './weigh.ts'

const CALLERS = [1, 16, 64, 256]
const LARGE_CALLERS = 2
const WEIGH_MS_MAX = 600_000

type Measured = { cases: Case[]; notes?: string[] }

export const measures: Record<Section, { about: string; measure(o: BenchOptions, f: Field): Promise<Measured> }> = {
  get: {
    about:
      'get of 1 KB from another process: cachemesh from its owner over an encrypted link; Redis, memcached and the echo ' +
      'over bare TCP. The echo is the floor: the same bytes, no cache.',
    async measure(o, field) {
      await remoteField(field)
      await field.fill({ value: 'buffer', bytes: VALUE_BYTES, large: false })
      return { cases: await byCallers(CALLERS, 'get', o, field) }
    }
  },
  many: {
    about: '100 keys of 1 KB in one call: getMany, mget; memjs has no such call and makes 100 gets at once.',
    async measure(o, field) {
      await remoteField(field)
      await field.fill({ value: 'buffer', bytes: VALUE_BYTES, large: false })
      return { cases: await byCallers([1, 16], 'many', o, field) }
    }
  },
  set: {
    about: 'set of 1 KB in another process, answered when it is stored there.',
    async measure(o, field) {
      await field.mesh('cachemesh', 1)
      if (field.abilities.backups) await field.mesh('cachemesh, 1 backup', 2, { backups: 1, backupAcks: 1 })
      await field.others()
      await field.fill({ value: 'buffer', bytes: VALUE_BYTES, large: false })
      const notes = field.abilities.backups ? [] : ['With a backup: this release has no backups yet.']
      return { cases: await byCallers([1, 64], 'set', o, field), notes }
    }
  },
  copies: {
    about:
      'set of 1 KB in a mesh of three other processes, by how many of them keep a copy beside the owner and how many of ' +
      'those copies the writer waits for.',
    async measure(o, field) {
      if (!field.abilities.backups) return { cases: [], notes: ['Left out: this release has no backups yet.'] }
      await field.meshes(3, {
        'no backups': { backups: 0, backupAcks: 0 },
        '1, waits for 0': { backups: 1, backupAcks: 0 },
        '1, waits for 1': { backups: 1, backupAcks: 1 },
        '2, waits for 0': { backups: 2, backupAcks: 0 },
        '2, waits for 1': { backups: 2, backupAcks: 1 },
        '2, waits for 2': { backups: 2, backupAcks: 2 }
      })
      await field.fill({ value: 'buffer', bytes: VALUE_BYTES, large: false })
      return { cases: await byCallers([1, 64], 'set', o, field) }
    }
  },
  local: {
    about:
      'get by the process that owns the key, no network. cachemesh and "lru-cache of bytes" decode a private copy for ' +
      'each caller; the bare lru-cache hands one shared object to all, and neither lru-cache makes a promise.',
    async measure(o, field) {
      await field.add('cachemesh', { kind: 'own' })
      await field.add('lru-cache of bytes', { kind: 'lruBytes' })
      await field.add('lru-cache', { kind: 'lru' })
      const cases: Case[] = []
      for (const [title, value] of [
        ['a Buffer of 100 bytes', 'buffer'],
        ['a small object', 'object']
      ] as const) {
        await field.fill({ value, bytes: 100, large: false })
        for (const callers of [1, 64]) {
          const work = { what: 'get', callers, ms: o.sliceMs, untimed: true } as const
          const rows = await field.measure(field.names, o.rounds, work)
          cases.push({ title: `${title}, ${inWords(callers)}`, compared: 'calls/s', rows })
        }
      }
      return { cases }
    }
  },
  near: {
    about:
      'values that another process owns, read once more from their near copies, against the memory layer of bentocache ' +
      '({ serialize: false }) and bare lru-cache, which asks nobody whether its value still holds. All hand out one shared ' +
      'object; an awaited lru-cache is one call of it in an async function.',
    async measure(o, field) {
      if (!field.abilities.peek) return { cases: [], notes: ['Left out: this release has no near copies yet.'] }
      await field.near({ 'cachemesh, await get': 'get', 'cachemesh, peek': 'peek' })
      await field.add('bentocache', { kind: 'bentocache' })
      await field.add('lru-cache, awaited', { kind: 'lruAwaited' })
      await field.add('lru-cache', { kind: 'lru' })
      await field.fill({ value: 'object', bytes: 100, large: false })
      const cases: Case[] = []
      for (const [how, names] of [
        ['with a promise', ['cachemesh, await get', 'bentocache', 'lru-cache, awaited']],
        ['without', ['cachemesh, peek', 'lru-cache']]
      ] as const)
        for (const callers of how === 'without' ? [1] : [1, 64]) {
          const work = { what: 'get', callers, ms: o.sliceMs, untimed: true } as const
          const rows = await field.measure(names, o.rounds, work)
          cases.push({ title: `a small object ${how}, ${inWords(callers)}`, compared: 'calls/s', rows })
        }
      return { cases }
    }
  },
  interference: {
    about: `64 callers of 1 KB, alone and with ${LARGE_CALLERS} callers of 1 MiB beside them on the same client.`,
    async measure(o, field) {
      await field.mesh('cachemesh', 1)
      await field.others()
      await field.fill({ value: 'buffer', bytes: VALUE_BYTES, large: true })
      const cases: Case[] = []
      for (const beside of [0, LARGE_CALLERS]) {
        const work = { what: 'get', callers: 64, ms: o.sliceMs, beside } as const
        const title = beside === 0 ? 'alone' : `${beside} callers of 1 MiB beside`
        cases.push({ title, compared: 'p99 µs', rows: await field.measure(field.names, o.rounds, work) })
      }
      return { cases }
    }
  },
  memory: {
    about:
      'what entries of a 16-byte key and a 100-byte value weigh, and a full collection with them; one process each.',
    measure: weighAll
  },
  start: {
    about: 'from the start of a process until it is ready, and its size then.',
    measure: startAll
  }
}

export async function measured(section: Section, o: BenchOptions, processes: Processes, told: string[]): Promise<Told> {
  const { about, measure } = measures[section]
  const field = await Field.open(processes)
  told.push(...field.leftOut.filter(line => !told.includes(line)))
  const { cases, notes = [] } = await measure(o, field)
  await field.close()
  return { section, about, cases, notes }
}

async function remoteField(field: Field): Promise<void> {
  await field.mesh('cachemesh', 1)
  await field.others()
  await field.echo('bare TCP echo')
}

async function byCallers(
  counts: readonly number[],
  what: 'get' | 'many' | 'set',
  o: BenchOptions,
  field: Field
): Promise<Case[]> {
  const cases: Case[] = []
  for (const callers of counts) {
    const rows = await field.measure(field.names, o.rounds, { what, callers, ms: o.sliceMs })
    cases.push({ title: inWords(callers), compared: 'calls/s', rows })
  }
  return cases
}

function inWords(callers: number): string {
  return callers === 1 ? '1 caller' : `${callers} callers`
}

async function weighAll(o: BenchOptions, field: Field): Promise<Measured> {
  const holders: [string, Holder][] = [
    ['cachemesh, solo', 'cachemesh'],
    ['lru-cache of Buffers', 'lru-cache'],
    ['Map of Buffers', 'map'],
    ['  out of the pool', 'pooled']
  ]
  if (field.redisPort !== undefined) holders.push(['Redis', 'redis'])
  const rows = []
  for (const [contender, holder] of holders) {
    const plan: WeighPlan = { holder, entries: o.entries, port: field.redisPort ?? 0 }
    const flags = ['--expose-gc', '--max-old-space-size=6000']
    const program = await field.processes.program<Weight>('weigh', plan, flags, WEIGH_MS_MAX)
    const { bytesPerEntry, rssPerEntry, collectionMs, setUs } = await program.started
    await program.end()
    const figures = {
      'bytes an entry': [bytesPerEntry],
      'RSS an entry': [rssPerEntry],
      'full GC ms': [collectionMs],
      'set µs': [setUs]
    }
    rows.push({ contender, figures })
  }
  const notes = ['One process each, five collections; Redis counts its own used_memory and has no collector.']
  return { cases: [{ title: `${o.entries.toLocaleString('en')} entries`, compared: 'bytes an entry', rows }], notes }
}

async function startAll(o: BenchOptions, field: Field): Promise<Measured> {
  const { secret, abilities, processes } = field
  const plan = { kind: 'cachemesh', name: 'start', secret, beside: [], abilities } as const
  const { addresses } = await (await processes.program<Listening>('server', plan)).started
  const plans: Record<string, StartPlan> = {
    'member that joins another': { what: 'joining', seeds: addresses, secret },
    'member with a socket, alone': { what: 'alone', secret },
    'member without a socket': { what: 'solo', secret },
    ...(field.redisPort === undefined
      ? {}
      : { 'ioredis, connected': { what: 'ioredis', port: field.redisPort, secret } }),
    'Node alone': { what: 'nothing', secret }
  }
  const run = async (name: string): Promise<Started> => {
    const program = await processes.program<Started>('start', plans[name] as StartPlan)
    const started = await program.started
    await program.end()
    return started
  }
  const results = await interleaved(Object.keys(plans), o.rounds, run)
  const rows = [...results].map(([contender, all]) => ({
    contender,
    figures: { 'ready ms': all.map(each => each.readyMs), 'RSS MiB': all.map(each => each.rssMiB) }
  }))
  return { cases: [{ title: 'start', compared: 'ready ms', rows }] }
}
