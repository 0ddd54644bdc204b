/**
 * What is on its way out, by peer and lane. Messages of one turn travel together: a frame costs an encryption and a
 * system call, a message in it costs its bytes.
 *
 *   post ─▶ open frame ─(full, or end of turn)─▶ transport.send ─▶ taken: its messages are sent
 *                                                      │
 *                                                      └─ budget full: waits here for onDrain, up to QUEUED_BYTES_MAX
 *
 * A frame of the data lane is full at FULL_BYTES and leaves within the `post` that fills it; one of the bulk lane always
 * waits for the end of the turn.
 *
 * What `post` gives back tells whether the message has really left: until then later callers of the same read may
 * still join it, and a call that fails is known not to have been heard.
 */
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import { FRAME_BYTES_MAX, type Lane, type PeerId, type Transport } from '../ports/transport.ts'
import { FrameBuilder, type FrameHeader, roughBytes } from './frame.ts'
import type { Message } from './messages.ts'

/** A frame of the data lane is closed at this size, so that one fits into one encrypted message of the transport. */
const DATA_FRAME_BYTES = 60 * 1024
/**
 * A frame this full leaves at once, so that the other side works on it while the next is written: 64 reads of 1 KB at a
 * time are a sixth faster. With its heads it is one record of TLS.
 */
const FULL_BYTES = 15 * 1024
/** Larger messages take the bulk lane. */
const BULK_FROM_BYTES = 48 * 1024
/** More than this waiting for one peer and lane, and new messages are refused. */
const QUEUED_BYTES_MAX = 32 * 1024 * 1024
/** The same for all peers together: many slow readers at once must not cost what one may, times their number. */
const QUEUED_BYTES_IN_ALL_MAX = 128 * 1024 * 1024
/** What a frame has room for at first, at least and at most; in between, what the last one of its lane needed. */
const ROOM_BYTES_MIN = 1024
const ROOM_BYTES_MAX = FULL_BYTES + 2 * 1024

/** The frame that a message travels in, or waits in. */
export interface Departure {
  /** False while the message cannot have been seen by anybody. */
  readonly sent: boolean
}

class OutgoingFrame implements Departure {
  readonly builder: FrameBuilder
  sent = false

  constructor(likelyBytes: number) {
    this.builder = new FrameBuilder(likelyBytes)
  }
}

class LaneQueue {
  readonly frames: OutgoingFrame[] = []
  queuedBytes = 0
  blocked = false
  roomBytes = ROOM_BYTES_MIN
}

interface PeerQueue {
  readonly data: LaneQueue
  readonly bulk: LaneQueue
}

export interface OutboxDeps {
  readonly transport: Transport
  readonly clock: Clock
  readonly stats: Stats
  readonly header: () => FrameHeader
}

export class Outbox {
  readonly #deps: OutboxDeps
  readonly #queues = new Map<PeerId, PeerQueue>()
  #dirty = new Set<PeerId>()
  #queuedBytes = 0

  constructor(deps: OutboxDeps) {
    this.#deps = deps
  }

  /** A link is up: both lanes begin with the greeting, because one may overtake the other. */
  open(peer: PeerId, greeting: Message): void {
    const queue = { data: new LaneQueue(), bulk: new LaneQueue() }
    this.#queues.set(peer, queue)
    for (const lane of [queue.data, queue.bulk]) this.#greet(lane, greeting)
    this.#flushLater(peer)
  }

  #greet(lane: LaneQueue, greeting: Message): void {
    const { builder } = this.#openFrame(lane, 0)
    const before = builder.bytes
    builder.add(0, greeting)
    this.#count(lane, builder.bytes - before)
  }

  /** The link is gone, and what waited for it with it. */
  close(peer: PeerId): void {
    const queue = this.#queues.get(peer)
    if (queue !== undefined) this.#queuedBytes -= queue.data.queuedBytes + queue.bulk.queuedBytes
    this.#queues.delete(peer)
    this.#dirty.delete(peer)
  }

  /** Undefined when there is no link or too much waits already: the message was not taken. */
  post(peer: PeerId, call: number, message: Message): Departure | undefined {
    const queue = this.#queues.get(peer)
    if (queue === undefined) return undefined
    const size = roughBytes(message)
    if (size > FRAME_BYTES_MAX) return undefined
    const lane = size > BULK_FROM_BYTES ? queue.bulk : queue.data
    if (lane.queuedBytes + size > QUEUED_BYTES_MAX || this.#queuedBytes + size > QUEUED_BYTES_IN_ALL_MAX)
      return undefined
    const frame = this.#openFrame(lane, size)
    const before = frame.builder.bytes
    frame.builder.add(call, message)
    this.#count(lane, frame.builder.bytes - before)
    if (frame.builder.bytes < FULL_BYTES || lane === queue.bulk) this.#flushLater(peer)
    else this.#flush(peer, 'data', lane)
    return frame
  }

  /** A frame with nothing in it but clock and view hash: a sign of life. Pointless if something is on its way anyhow. */
  beat(peer: PeerId): void {
    const queue = this.#queues.get(peer)
    if (queue === undefined || queue.data.frames.length > 0) return
    this.#openFrame(queue.data, 0)
    this.#flushLater(peer)
  }

  drained(peer: PeerId, lane: Lane): void {
    const queue = this.#queues.get(peer)
    if (queue === undefined) return
    queue[lane].blocked = false
    this.#flush(peer, lane, queue[lane])
  }

  #flushLater(peer: PeerId): void {
    if (this.#dirty.size === 0) this.#deps.clock.defer(() => this.#flushAll())
    this.#dirty.add(peer)
  }

  #flushAll(): void {
    const peers = this.#dirty
    this.#dirty = new Set()
    for (const peer of peers) {
      const queue = this.#queues.get(peer)
      if (queue === undefined) continue
      this.#flush(peer, 'data', queue.data)
      this.#flush(peer, 'bulk', queue.bulk)
    }
  }

  #flush(peer: PeerId, lane: Lane, queue: LaneQueue): void {
    while (!queue.blocked) {
      const frame = queue.frames[0]
      if (frame === undefined) return
      const bytes = frame.builder.finish(this.#deps.header())
      if (!this.#deps.transport.send(peer, lane, bytes)) {
        queue.blocked = true
        return
      }
      queue.frames.shift()
      this.#count(queue, -bytes.length)
      queue.roomBytes = roomFor(bytes.length)
      this.#deps.stats.framesSentTotal++
      frame.sent = true
    }
  }

  #openFrame(lane: LaneQueue, size: number): OutgoingFrame {
    const last = lane.frames.at(-1)
    // A blocked queue's first frame has been offered to the transport once; adding to it is still safe: it was not taken.
    if (last !== undefined && last.builder.bytes + size <= DATA_FRAME_BYTES) return last
    const fresh = new OutgoingFrame(Math.max(lane.roomBytes, Math.min(size + ROOM_BYTES_MIN, FRAME_BYTES_MAX)))
    lane.frames.push(fresh)
    this.#count(lane, fresh.builder.bytes)
    return fresh
  }

  #count(lane: LaneQueue, bytes: number): void {
    lane.queuedBytes += bytes
    this.#queuedBytes += bytes
  }
}

/** A power of two, so that a slow rise of the load does not make each frame a little too short. */
function roomFor(bytes: number): number {
  return Math.min(Math.max(2 ** Math.ceil(Math.log2(bytes + 1)), ROOM_BYTES_MIN), ROOM_BYTES_MAX)
}
