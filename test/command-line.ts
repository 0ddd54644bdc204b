import { parseArgs } from 'node:util'

interface Bounds {
  readonly min: number
  readonly max: number
}

type Options = Readonly<Record<string, { type: 'string'; default?: string }>>

/** The options a command was given. What it does not know ends it with status 2 and a word about what it does know. */
export function commandLine<const O extends Options>(
  options: O,
  usage: string
): { [K in keyof O]: O[K] extends { default: string } ? string : string | undefined } {
  try {
    return parseArgs({ options }).values as never
  } catch (error) {
    return refuse(`${(error as Error).message}\n${usage}`)
  }
}

/** A number within bounds; anything else ends the command with a word about them. */
export function numberOption(name: string, given: string, { min, max }: Bounds, usage: string): number {
  const value = Number(given)
  if (given.trim() !== '' && value >= min && value <= max) return value
  return refuse(`Expected --${name} from ${min} to ${max}, got '${given}'.\n${usage}`)
}

export function refuse(why: string): never {
  process.stderr.write(`${why}\n`)
  process.exit(2)
}
