/**
 * What has happened to keys of late, for people who ask why: the last few thousand things worth a line, in a ring. Hits
 * and writes are none of them: there are too many, and a record says itself when it was written.
 */
import { recordName } from '../base/record-name.ts'

const LINES_MAX = 4_096
const LINE_UNITS_MAX = 300

export interface JournalLine {
  readonly atMs: number
  readonly what: string
}

export class Journal {
  readonly #now: () => number
  readonly #atMs: number[] = []
  readonly #names: string[] = []
  readonly #lines: string[] = []
  #next = 0

  constructor(now: () => number) {
    this.#now = now
  }

  note(namespace: string, key: string, what: string): void {
    this.#atMs[this.#next] = this.#now()
    this.#names[this.#next] = recordName(namespace, key)
    this.#lines[this.#next] = what.length > LINE_UNITS_MAX ? `${what.slice(0, LINE_UNITS_MAX - 1)}…` : what
    this.#next = (this.#next + 1) % LINES_MAX
  }

  /** The last lines of a key, oldest first. */
  of(namespace: string, key: string, most: number): JournalLine[] {
    const name = recordName(namespace, key)
    const found: JournalLine[] = []
    for (let back = 1; back <= this.#names.length && found.length < most; back++) {
      const at = (this.#next - back + LINES_MAX) % LINES_MAX
      if (this.#names[at] !== name) continue
      found.unshift({ atMs: this.#atMs[at] as number, what: this.#lines[at] as string })
    }
    return found
  }
}
