import { isWrite, nameOf } from './changes.ts'
import type { Calm, Checker, ClientCall } from './checker.ts'

/**
 * Members that have begun and know of nobody else yet: they own every key by their own view, and what they are asked for
 * then they can ask nobody else for. An application that waits until its mesh is ready asks later.
 */
export class Newcomers {
  readonly #calm: Calm
  readonly #aloneUntilMs = new Map<string, number>()
  readonly #madeAlone = new Set<string>()

  constructor(calm: Calm) {
    this.#calm = calm
  }

  get hooks(): Required<Pick<Checker, 'joins' | 'saw'>> {
    return {
      joins: member => void this.#aloneUntilMs.set(member, Number.POSITIVE_INFINITY),
      saw: ({ member, view }) => {
        if (view.length > 1 && this.#aloneUntilMs.get(member) === Number.POSITIVE_INFINITY)
          this.#aloneUntilMs.set(member, this.#calm.nowMs())
      }
    }
  }

  wasAlone(member: number, atMs: number): boolean {
    return atMs <= (this.#aloneUntilMs.get(`member-${member}`) ?? 0)
  }

  called(call: ClientCall): void {
    if (isWrite(call) && this.wasAlone(call.member, call.beganMs)) this.#madeAlone.add(recordOf(call))
  }

  /** This version of a key is by a member that knew of nobody. */
  isMadeAlone(read: Pick<ClientCall, 'cache' | 'key' | 'version'>): boolean {
    return this.#madeAlone.has(recordOf(read))
  }
}

function recordOf(call: Pick<ClientCall, 'cache' | 'key' | 'version'>): string {
  return `${nameOf(call)} ${call.version}`
}
