/**
 * How much memory one call takes, garbage and buffers outside of the heap included.
 *
 * V8 tells exactly how much is used, so the difference over a call is what the call allocated, unless a collection came
 * in between. To keep collections away one is made whenever a few megabytes have piled up, which is less than the young
 * generation holds. One that comes all the same takes the pile with it, so that less is used afterwards than before:
 * then nothing is known, and whoever measures does it again, after a full collection.
 *
 * A call that takes more than the young generation holds is never measured, and what cannot be measured does not pass:
 * `npm run fuzz` gives it 256 MB, since a frame of 7 MB in 65,536 messages rightly takes 46.
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const PILE_BYTES_MAX = 4 * 1024 ** 2

export class AllocationMeter {
  readonly #collect: (how?: { type: 'minor' }) => void
  #cleanAt = 0

  constructor() {
    setFlagsFromString('--expose-gc')
    this.#collect = runInNewContext('gc') as (how?: { type: 'minor' }) => void
    this.clean()
  }

  /** A full collection; the second one gives back what the buffers of the first held outside of the heap. */
  clean(): void {
    this.#collect()
    this.#collect()
    this.#cleanAt = sumOf(used())
  }

  /** The bytes that the work takes, or undefined when they cannot be told. What it throws passes through. */
  bytesOf(work: () => void): number | undefined {
    if (sumOf(used()) - this.#cleanAt > PILE_BYTES_MAX) {
      this.#collect({ type: 'minor' })
      this.#collect({ type: 'minor' })
      this.#cleanAt = sumOf(used())
    }
    const before = used()
    work()
    const after = used()
    return after.heap < before.heap || after.outside < before.outside ? undefined : sumOf(after) - sumOf(before)
  }
}

interface Used {
  readonly heap: number
  readonly outside: number
}

function used(): Used {
  const { used_heap_size: heap, external_memory: outside } = getHeapStatistics()
  return { heap, outside }
}

function sumOf({ heap, outside }: Used): number {
  return heap + outside
}
