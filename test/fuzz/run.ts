/**
 * Runs every decoder over its share of the inputs, each input from the seed and from nothing else.
 *
 * Held for each: no throw but the refusal that is documented; what was accepted comes back the same; the input is not
 * written to; nothing is allocated for what is merely claimed. For a whole member: a refused frame changes nothing.
 */
import { AllocationMeter } from './allocation.ts'
import { DECODERS, type Decoder, type Verdict } from './decoders.ts'
import { Dice } from './dice.ts'
import { MemberFiles } from './files.ts'
import { mdnsDecoder } from './mdns.ts'
import { checkAssembly } from './messages.ts'
import { Victim, watchChanges } from './victim.ts'

/**
 * Below it an allocation is nobody’s concern: errors, and code that a full collection has thrown away and that is
 * compiled again, which took 200 KB for a text of 30 bytes. What is looked for is a length that is believed: megabytes.
 */
const ALLOWANCE_BYTES = 512 * 1024
const MEASURED_AGAIN_MAX = 5
const SETTLE_EVERY = 1_000
/** A member is made anew after so many inputs, and lives a while after so few. */
const VICTIM_INPUTS = 400
const LIVE_EVERY = 25
const GOSSIP_SHARE = 0.2

export interface Tally {
  readonly decoder: string
  readonly inputs: number
  readonly accepted: number
  readonly refused: number
  readonly seconds: number
  readonly failure: { readonly input: Uint8Array; readonly error: Error } | undefined
}

export interface Campaign {
  readonly name: string
  /** Of a hundred inputs. */
  readonly share: number
  /** One input alone shows the failure; otherwise all before it belong to it. */
  readonly isReplayable: boolean
  run(seed: string, inputs: number): Promise<Tally>
}

export const CAMPAIGNS: readonly Campaign[] = [
  ...[...DECODERS, mdnsDecoder()].map(decoder => ({
    name: decoder.name,
    share: decoder.share,
    isReplayable: true,
    run: (seed: string, inputs: number) => fuzz(decoder, seed, inputs)
  })),
  { name: 'member', share: 4, isReplayable: false, run: fuzzMember },
  { name: 'file', share: 0.1, isReplayable: false, run: fuzzFiles }
]

export async function fuzz(decoder: Decoder, seed: string, inputs: number): Promise<Tally> {
  const dice = new Dice(`${seed}/${decoder.name}`)
  checkAssembly(dice)
  const judge = new Judge(decoder)
  const tally = new Tallying(decoder.name)
  for (let i = 1; i <= inputs; i++) {
    const input = decoder.make(dice)
    if (!tally.count(input, () => withoutStacks(() => judge.of(input)))) {
      return tally.end(traced(decoder, input))
    }
    if (i % SETTLE_EVERY !== 0 && i !== inputs) continue
    if (!(await tally.settle(input, async () => decoder.settle?.()))) break
  }
  return tally.end()
}

async function fuzzMember(seed: string, inputs: number): Promise<Tally> {
  const dice = new Dice(`${seed}/member`)
  const tally = new Tallying('member')
  const restore = watchChanges()
  try {
    let victim: Victim | undefined
    for (let i = 0; i < inputs; i++) {
      const input: { bytes: Uint8Array } = { bytes: new Uint8Array() }
      const step = async (): Promise<void> => {
        if (victim === undefined || i % VICTIM_INPUTS === 0) {
          victim = new Victim(`${seed}/${i}`)
          await victim.begin()
        }
        if (i % LIVE_EVERY === 0) await victim.live(dice)
      }
      if (!(await tally.settle(input.bytes, step))) break
      const hunted = victim as unknown as Victim
      const isGossip = dice.chance(GOSSIP_SHARE)
      input.bytes = isGossip ? hunted.gossip(dice) : hunted.frame(dice)
      if (!tally.count(input.bytes, () => (isGossip ? hunted.hearGossip(input.bytes) : hunted.hearFrame(input.bytes))))
        break
    }
  } finally {
    restore()
  }
  return tally.end()
}

async function fuzzFiles(seed: string, inputs: number): Promise<Tally> {
  const dice = new Dice(`${seed}/file`)
  const tally = new Tallying('file')
  const files = new MemberFiles()
  try {
    await files.open()
    for (let i = 0; i < inputs; i++) {
      const input = files.make(dice)
      let verdict: Verdict = 'refused'
      const read = async (): Promise<void> => {
        verdict = await files.read(input)
      }
      if (!(await tally.settle(input, read))) break
      tally.count(input, () => verdict)
    }
  } finally {
    files.close()
  }
  return tally.end()
}

/** One input again, as it was printed. */
export async function replay(name: string, input: Uint8Array): Promise<Verdict> {
  const decoders = [...DECODERS, mdnsDecoder()]
  const decoder = decoders.find(each => each.name === name)
  if (decoder === undefined)
    throw new Error(`there is no decoder '${name}' to replay, only ${decoders.map(each => each.name).join(', ')}`)
  const verdict = new Judge(decoder).of(input)
  await decoder.settle?.()
  return verdict
}

class Tallying {
  readonly #decoder: string
  readonly #counts: Record<Verdict, number> = { accepted: 0, refused: 0 }
  readonly #beganMs = performance.now()
  #failure: Tally['failure']

  constructor(decoder: string) {
    this.#decoder = decoder
  }

  /** False once something has failed. */
  count(input: Uint8Array, judge: () => Verdict): boolean {
    try {
      this.#counts[judge()]++
    } catch (error) {
      this.#failure = { input, error: asError(error) }
    }
    return this.#failure === undefined
  }

  async settle(input: Uint8Array, work: () => Promise<void>): Promise<boolean> {
    try {
      await work()
    } catch (error) {
      this.#failure = { input, error: asError(error) }
    }
    return this.#failure === undefined
  }

  end(better?: Error): Tally {
    const { accepted, refused } = this.#counts
    const inputs = accepted + refused + (this.#failure === undefined ? 0 : 1)
    const failure = this.#failure && { ...this.#failure, error: better ?? this.#failure.error }
    return {
      decoder: this.#decoder,
      inputs,
      accepted,
      refused,
      seconds: (performance.now() - this.#beganMs) / 1_000,
      failure
    }
  }
}

class Judge {
  readonly #decoder: Decoder
  readonly #meter = new AllocationMeter()

  constructor(decoder: Decoder) {
    this.#decoder = decoder
  }

  of(input: Uint8Array): Verdict {
    const before = input.slice()
    let outcome: unknown
    let thrown: { error: unknown } | undefined
    const bytes = this.#meter.bytesOf(() => {
      try {
        outcome = this.#decoder.read(input)
      } catch (error) {
        thrown = { error }
      }
    })
    this.#checkAllocation(input, bytes)
    if (Buffer.compare(before, input) !== 0) throw new Error('the input was written to')
    if (thrown === undefined) return this.#decoder.judge(outcome, input)
    if (this.#decoder.isRefusal(thrown.error)) return 'refused'
    throw thrown.error
  }

  /** What is over the limit is measured again: the compiler and its notes allocate too, but not each time. */
  #checkAllocation(input: Uint8Array, first: number | undefined): void {
    const limit = this.#decoder.bytesPerByte * input.length + ALLOWANCE_BYTES
    let bytes = first
    for (let tries = 0; bytes === undefined || bytes > limit; tries++) {
      if (tries === MEASURED_AGAIN_MAX)
        throw new Error(`${bytes ?? 'too many'} bytes were allocated for ${input.length}, at most ${limit} allowed`)
      this.#meter.clean()
      // A full collection may throw away compiled code too: this one pays for what is compiled again.
      this.#readAgain(input)
      bytes = this.#meter.bytesOf(() => this.#readAgain(input))
    }
  }

  #readAgain(input: Uint8Array): void {
    try {
      this.#decoder.read(input)
    } catch {
      // Whether it may throw this is judged once.
    }
  }
}

/** Half of all inputs end in an error, and nobody reads where it was made. */
function withoutStacks<T>(work: () => T): T {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return work()
  } finally {
    Error.stackTraceLimit = limit
  }
}

/** The failure once more, now with where it was made. */
function traced(decoder: Decoder, input: Uint8Array): Error | undefined {
  try {
    new Judge(decoder).of(input)
    return undefined
  } catch (error) {
    return asError(error)
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(`something was thrown that is no error: ${String(thrown)}`)
}
