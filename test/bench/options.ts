/** What the benchmark can be asked for. A word it does not know is refused, for a misspelt one would measure all. */
import { parseArgs } from 'node:util'

export const SECTIONS = ['get', 'many', 'set', 'copies', 'local', 'near', 'interference', 'memory', 'start'] as const
export type Section = (typeof SECTIONS)[number]

export interface BenchOptions {
  readonly rounds: number
  /** How long each contender runs in each round. */
  readonly sliceMs: number
  readonly sections: readonly Section[]
  /** Entries of the memory section. */
  readonly entries: number
  readonly json: string | undefined
}

/** Fewer would make a median of noise. */
const ROUNDS_MIN = 5
const ROUNDS_MAX = 1_000

const KNOWN =
  `Known are --rounds N (${ROUNDS_MIN} or more), --only NAME[,NAME] (${SECTIONS.join(', ')}), ` +
  '--quick (short slices and a small memory section) and --json FILE.'

export function parseOptions(args: readonly string[]): BenchOptions | { readonly problem: string } {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        rounds: { type: 'string' },
        only: { type: 'string' },
        quick: { type: 'boolean', default: false },
        json: { type: 'string' }
      }
    })
    const rounds = Number(values.rounds ?? ROUNDS_MIN)
    if (!(Number.isInteger(rounds) && rounds >= ROUNDS_MIN && rounds <= ROUNDS_MAX))
      return { problem: `Expected --rounds from ${ROUNDS_MIN} to ${ROUNDS_MAX}, got '${values.rounds}'. ${KNOWN}` }
    const wanted = values.only?.split(',') ?? SECTIONS
    const stranger = wanted.find(name => !isSection(name))
    if (stranger !== undefined) return { problem: `Unknown section '${stranger}'. ${KNOWN}` }
    return {
      rounds,
      sliceMs: values.quick ? 60 : 400,
      sections: SECTIONS.filter(name => wanted.includes(name)),
      entries: values.quick ? 20_000 : 1_000_000,
      json: values.json
    }
  } catch (error) {
    return { problem: `${(error as Error).message.split(/[.\n]/, 1)[0]}. ${KNOWN}` }
  }
}

function isSection(name: string): name is Section {
  return (SECTIONS as readonly string[]).includes(name)
}
