/** What `npm run bench:copies` can be asked for; a word it does not know is refused in one line. */
import { parseArgs } from 'node:util'

export const COPIES_PARTS = ['kill', 'still', 'restart', 'roll', 'grow'] as const
export type CopiesPart = (typeof COPIES_PARTS)[number]

export interface CopiesOptions {
  readonly parts: readonly CopiesPart[]
  readonly tries: number
  readonly readsPerSecond: number
}

const TRIES_MAX = 1_000
const READS_MAX = 5_000
const KNOWN =
  `Known are --tries N (processes killed, 20), --reads N (of each process a second, 300) and --only NAME[,NAME] ` +
  `(${COPIES_PARTS.join(', ')}).`

export function copiesOptions(args: readonly string[]): CopiesOptions | { readonly problem: string } {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        tries: { type: 'string', default: '20' },
        reads: { type: 'string', default: '300' },
        only: { type: 'string', default: COPIES_PARTS.join(',') }
      }
    })
    const wanted = values.only.split(',')
    const stranger = wanted.find(name => !COPIES_PARTS.some(part => part === name))
    if (stranger !== undefined) return { problem: `Unknown part '${stranger}'. ${KNOWN}` }
    const [tries, readsPerSecond] = [Number(values.tries), Number(values.reads)]
    if (!isWhole(tries, TRIES_MAX))
      return { problem: `Expected --tries from 1 to ${TRIES_MAX}, got '${values.tries}'. ${KNOWN}` }
    if (!isWhole(readsPerSecond, READS_MAX))
      return { problem: `Expected --reads from 1 to ${READS_MAX}, got '${values.reads}'. ${KNOWN}` }
    return { parts: COPIES_PARTS.filter(part => wanted.includes(part)), tries, readsPerSecond }
  } catch (error) {
    return { problem: `${(error as Error).message.split(/[.\n]/, 1)[0]}. ${KNOWN}` }
  }
}

function isWhole(number: number, most: number): boolean {
  return Number.isInteger(number) && number >= 1 && number <= most
}
