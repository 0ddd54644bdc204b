/**
 * Links to peers. A link is one authenticated two-way connection as the core sees it, however many sockets or
 * streams lie beneath. Guarantees, held by one conformance suite for every adapter:
 *
 * 1. There is at most one link per peer. `onUp` comes before its first frame, `onDown` after its last; they alternate.
 * 2. Frames of one lane arrive whole, in order and at most once. What was sent and not delivered when a link dies is
 *    lost, and never arrives on a later link. Lanes overtake each other.
 * 3. `send` returns false when the write budget of that lane is full or there is no link: the frame was **not** taken.
 *    After a full budget `onDrain` follows once there is room again, unless the link dies first. Where nothing else
 *    waits, one frame over the budget is taken. A frame over `FRAME_BYTES_MAX` is the caller's bug, and `send` throws.
 * 4. A frame given to `send` belongs to the transport; a frame given to `onFrame` belongs to the receiver. It may be a
 *    view of a larger piece: who keeps a part of it for long copies that part.
 * 5. `connect` resolves with the id the other side has proved, once the link is up; to an address of our own it
 *    resolves with `self` and makes no link; it rejects within `CONNECT_MS_MAX`. A link that the other side has closed
 *    without our knowing may still count as up: then `onDown` follows. One made `anew` does not wait for an earlier one to
 *    the same address, which may hang although the way is free by now; that one may reject.
 * 6. `close` leads to `onDown` here and, if the peer can be reached, there. A closed peer may connect again.
 * 7. No event is delivered from inside a call of `start`, `send`, `connect` or `close`, and none after `stop`.
 * 8. A peer that cannot prove the secret of the mesh never leads to `onUp`, and `connect` to it rejects.
 *
 * Not promised: that a dead peer is noticed. A cable can be cut without a sound; who cares must listen for silence.
 */
export type PeerId = string

/** `host:port`, with an IPv6 host in brackets. */
export type Address = string

/** `data` carries small frames; `bulk` carries large values and handoff, so that those never block the small ones. */
export type Lane = 'data' | 'bulk'

/** The largest frame that may be sent, in bytes. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024

/** By then a `connect` has settled. */
export const CONNECT_MS_MAX = 3_000

export interface LinkEvents {
  onUp(peer: PeerId): void
  onDown(peer: PeerId, reason: string): void
  onFrame(peer: PeerId, lane: Lane, frame: Uint8Array): void
  onDrain(peer: PeerId, lane: Lane): void
}

export interface Transport {
  readonly self: PeerId
  /** Begins to listen; resolves with the addresses others may dial, none for a member that only dials. */
  start(events: LinkEvents): Promise<readonly Address[]>
  /** Closes every link and stops listening. Frames taken before are flushed as far as a short deadline allows. */
  stop(): Promise<void>
  connect(address: Address, how?: { readonly anew: boolean }): Promise<PeerId>
  send(peer: PeerId, lane: Lane, frame: Uint8Array): boolean
  close(peer: PeerId, reason: string): void
}

/** The transport of a member that is alone by choice: it has an id and nothing else. */
export function noTransport(self: PeerId): Transport {
  return {
    self,
    start: async () => [],
    stop: async () => {},
    connect: async address => {
      throw new Error(`this member has no transport and cannot dial ${address}`)
    },
    send: () => false,
    close: () => {}
  }
}
