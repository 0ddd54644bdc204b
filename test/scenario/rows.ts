/** The origin of the stories that write: rows, all that was ever stored, and how long it takes. */
import type { StoreContext } from '../../lib/fill/definition.ts'
import type { Mesh } from '../../lib/mesh.ts'
import type { Cluster } from '../../lib/testing.ts'

export interface Stored {
  readonly key: string
  readonly value: unknown
  readonly version: string
  readonly member: number
  /** Virtual time of the call and of the moment the row had it. */
  readonly calledMs: number
  readonly storedMs: number
}

export class Rows {
  readonly rows = new Map<string, unknown>()
  readonly stored: Stored[] = []
  calls = 0
  loads = 0
  /** Before the row has it, and from then until the caller hears of it. */
  beforeMs: (key: string, value: unknown) => number = () => 0
  afterMs: (key: string, value: unknown) => number = () => 0
  /** Throws, if it does, before or after the row has it. */
  fails: (key: string, value: unknown, when: 'before' | 'after') => boolean = () => false
  /** Keeps what is newer by its version. */
  isCareful = false
  #cluster: Cluster | undefined

  /** The mesh whose time is kept; known once it has been made. */
  within(t: Cluster): void {
    this.#cluster = t
  }

  store(member: number) {
    return async (key: string, value: unknown, { version }: StoreContext): Promise<void> => {
      this.calls++
      const t = this.#cluster as Cluster
      const calledMs = t.now
      await t.sleep(this.beforeMs(key, value))
      if (this.fails(key, value, 'before')) throw new Error('no connection')
      const known = this.stored.findLast(row => row.key === key)
      if (!this.isCareful || known === undefined || known.version < version) {
        if (value === undefined) this.rows.delete(key)
        else this.rows.set(key, value)
        this.stored.push({ key, value, version, member, calledMs, storedMs: t.now })
      }
      await t.sleep(this.afterMs(key, value))
      if (this.fails(key, value, 'after')) throw new Error('the connection was lost after the commit')
    }
  }

  load() {
    return async (key: string): Promise<unknown> => {
      this.loads++
      const t = this.#cluster as Cluster
      const row = this.rows.get(key)
      await t.sleep('1ms')
      return row
    }
  }

  valuesOf(key: string): unknown[] {
    return this.stored.filter(row => row.key === key).map(({ value }) => value)
  }
}

export const cacheOf = (mesh: Mesh | undefined) => (mesh as Mesh).cache<unknown>('products')
