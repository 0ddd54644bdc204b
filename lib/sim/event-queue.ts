/**
 * What happens next: the earliest event, and of several at one time the one that was put in first. A binary heap: the
 * earliest is at the front, and each is no later than the two below it.
 */
export interface Timed {
  /** Not to be changed while the event is in the queue. */
  atMs: number
  /** Given by the queue. */
  order: number
}

export class EventQueue<E extends Timed> {
  readonly #heap: E[] = []
  #order = 0

  get first(): E | undefined {
    return this.#heap[0]
  }

  push(event: E): void {
    event.order = this.#order++
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const above = (at - 1) >> 1
      if (!isBefore(event, heap[above] as E)) break
      heap[at] = heap[above] as E
      at = above
    }
    heap[at] = event
  }

  /** Takes the first. */
  pop(): E | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let below = at * 2 + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && isBefore(heap[below + 1] as E, heap[below] as E)) below++
      if (!isBefore(heap[below] as E, last)) break
      heap[at] = heap[below] as E
      at = below
    }
    heap[at] = last
    return first
  }
}

function isBefore(a: Timed, b: Timed): boolean {
  return a.atMs !== b.atMs ? a.atMs < b.atMs : a.order < b.order
}
