/**
 * Many keys whose owner is slow, or has fallen silent, with an answer to all of them: those that are still open are
 * asked of their copies one by one, a few at a time, while the answer of the owner may still come. Only values count.
 *
 * It ends when nothing is open any more, when the owner has answered, or when there is nobody left to ask. Each key is
 * charged as any hedge is (`hedge-budget.ts`), so where many owners are slow, most keys wait.
 */
import type { Cancel } from '../ports/clock.ts'
import type { Slowness } from '../rpc/client.ts'
import type { CopyReads } from './copy-reads.ts'
import type { Answer, ReadAsk } from './question.ts'

const AT_ONCE_MAX = 64

export interface ManyHedgeTerms {
  readonly copies: CopyReads
  readonly why: Slowness
  readonly places: readonly number[]
  readonly isOpen: (place: number) => boolean
  readonly about: (place: number) => { readonly ask: ReadAsk; readonly partition: number }
  readonly onValue: (place: number, answer: Answer) => void
}

export class ManyHedge {
  readonly #terms: ManyHedgeTerms
  readonly #running = new Set<{ takeBack: Cancel | undefined }>()
  #next = 0
  #isStopped = false
  #isPumping = false

  constructor(terms: ManyHedgeTerms) {
    this.#terms = terms
  }

  begin(): void {
    // What our own store answers is over within the call, and must not call ever deeper.
    if (this.#isPumping) return
    this.#isPumping = true
    const { places } = this.#terms
    while (!this.#isStopped && this.#running.size < AT_ONCE_MAX && this.#next < places.length)
      this.#ask(places[this.#next++] as number)
    this.#isPumping = false
  }

  stop(): void {
    this.#isStopped = true
    for (const one of this.#running) one.takeBack?.()
    this.#running.clear()
  }

  #ask(place: number): void {
    const { copies, why, isOpen, about, onValue } = this.#terms
    if (!isOpen(place)) return
    const one: { takeBack: Cancel | undefined } = { takeBack: undefined }
    this.#running.add(one)
    one.takeBack = copies.hedge(about(place), why, answer => {
      if (!this.#running.delete(one)) return
      if (answer !== undefined) onValue(place, answer)
      this.begin()
    })
    // Nobody to ask, or nothing left to spend.
    if (one.takeBack === undefined) this.#running.delete(one)
  }
}
