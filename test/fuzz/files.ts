/** The files in which members of one host write their addresses, whoever wrote what is in them now. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { local } from '../../lib/adapters/local-discovery.ts'
import type { Verdict } from './decoders.ts'
import type { Dice } from './dice.ts'
import { mutated } from './mutate.ts'

const MESH = 'fuzz'
const ADDRESSES_MAX = 16
const CHARACTERS_MAX = 300

/** A directory with one file in it; `close` removes it. */
export class MemberFiles {
  readonly #root = mkdtempSync(join(tmpdir(), 'cachemesh-fuzz-'))
  readonly #source = local({ dir: this.#root })
  readonly #path = join(this.#root, createHash('sha256').update(MESH).digest('hex').slice(0, 16), 'other.json')

  async open(): Promise<void> {
    await this.#source.announce?.({ mesh: MESH, id: 'me', addresses: [] })
  }

  make(dice: Dice): Uint8Array {
    const member = {
      id: dice.pick<unknown>(['other', 'other', 'other', 1, null]),
      pid: dice.chance(0.9) ? process.pid : dice.number(),
      host: dice.pick<unknown>([hostname(), hostname(), 'elsewhere', []]),
      addresses: dice.pick<unknown>([
        ['10.0.0.5:7700'],
        ['a', 'b:1'],
        [dice.text(400)],
        new Array(20).fill('a'),
        {},
        'x',
        [7]
      ])
    }
    const bytes = Buffer.from(JSON.stringify(member))
    return dice.chance(0.5) ? bytes : mutated(dice, { bytes: Uint8Array.from(bytes), spots: [] }, bytes)
  }

  async read(input: Uint8Array): Promise<Verdict> {
    writeFileSync(this.#path, input)
    const found = await this.#source.find({ signal: new AbortController().signal })
    if (found.length > ADDRESSES_MAX) throw new Error(`${found.length} addresses in one file`)
    for (const address of found)
      if (typeof address !== 'string' || address.length > CHARACTERS_MAX) throw new Error('an address that is none')
    return found.length > 0 ? 'accepted' : 'refused'
  }

  close(): void {
    rmSync(this.#root, { recursive: true, force: true })
  }
}
