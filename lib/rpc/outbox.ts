/**
 * What is on its way out, by peer and lane. All messages of one turn travel in one frame: a frame costs an encryption
 * and a system call, a message in it costs its bytes.
 *
 *   post ─▶ open frame ─(end of turn)─▶ transport.send ─▶ taken: its messages are sent
 *                                             │
 *                                             └─ budget full: waits here for onDrain, up to QUEUED_BYTES_MAX
 *
 * `onSent` tells when a message has really left: until then later callers of the same read may still join it.
 */
import type { Stats } from '../observe/stats.ts'
import type { Clock } from '../ports/clock.ts'
import { FRAME_BYTES_MAX, type Lane, type PeerId, type Transport } from '../ports/transport.ts'
import { FrameBuilder, type FrameHeader, roughBytes } from './frame.ts'
import type { Message } from './messages.ts'

/** A frame of the data lane is closed at this size, so that one fits into one encrypted message of the transport. */
const DATA_FRAME_BYTES = 60 * 1024
/** Larger messages take the bulk lane. */
const BULK_FROM_BYTES = 48 * 1024
/** More than this waiting for one peer and lane, and new messages are refused. */
const QUEUED_BYTES_MAX = 32 * 1024 * 1024

interface OutgoingFrame {
  readonly builder: FrameBuilder
  readonly onSent: (() => void)[]
}

class LaneQueue {
  readonly frames: OutgoingFrame[] = []
  queuedBytes = 0
  blocked = false
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

  constructor(deps: OutboxDeps) {
    this.#deps = deps
  }

  /** A link is up: both lanes begin with the greeting, because one may overtake the other. */
  open(peer: PeerId, greeting: Message): void {
    const queue = { data: new LaneQueue(), bulk: new LaneQueue() }
    this.#queues.set(peer, queue)
    for (const lane of [queue.data, queue.bulk]) openFrame(lane, 0).builder.add(0, greeting)
    this.#flushLater(peer)
  }

  /** The link is gone, and what waited for it with it. */
  close(peer: PeerId): void {
    this.#queues.delete(peer)
    this.#dirty.delete(peer)
  }

  /** False when there is no link or too much waits for it already: the message was not taken. */
  post(peer: PeerId, call: number, message: Message, onSent?: () => void): boolean {
    const queue = this.#queues.get(peer)
    if (queue === undefined) return false
    const size = roughBytes(message)
    if (size > FRAME_BYTES_MAX) return false
    const lane = size > BULK_FROM_BYTES ? queue.bulk : queue.data
    if (lane.queuedBytes + size > QUEUED_BYTES_MAX) return false
    const frame = openFrame(lane, size)
    const before = frame.builder.bytes
    frame.builder.add(call, message)
    lane.queuedBytes += frame.builder.bytes - before
    if (onSent !== undefined) frame.onSent.push(onSent)
    this.#flushLater(peer)
    return true
  }

  /** A frame with nothing in it but clock and view hash: a sign of life. Pointless if something is on its way anyhow. */
  beat(peer: PeerId): void {
    const queue = this.#queues.get(peer)
    if (queue === undefined || queue.data.frames.length > 0) return
    queue.data.frames.push({ builder: new FrameBuilder(), onSent: [] })
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
      queue.queuedBytes = Math.max(0, queue.queuedBytes - bytes.length)
      this.#deps.stats.framesSentTotal++
      for (const onSent of frame.onSent) onSent()
    }
  }
}

function openFrame(lane: LaneQueue, size: number): OutgoingFrame {
  const last = lane.frames.at(-1)
  // A blocked queue's first frame has been offered to the transport once; adding to it is still safe: it was not taken.
  if (last !== undefined && last.builder.bytes + size <= DATA_FRAME_BYTES) return last
  const fresh: OutgoingFrame = { builder: new FrameBuilder(), onSent: [] }
  lane.frames.push(fresh)
  lane.queuedBytes += fresh.builder.bytes
  return fresh
}
