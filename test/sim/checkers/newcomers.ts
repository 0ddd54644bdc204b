import type { Calm, Checker } from './checker.ts'

/**
 * Members that have begun and know of nobody else yet: they own every key by their own view, and what they are asked for
 * then they can ask nobody else for. An application that waits until its mesh is ready asks later.
 */
export class Newcomers {
  readonly #calm: Calm
  readonly #aloneUntilMs = new Map<string, number>()

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
}
