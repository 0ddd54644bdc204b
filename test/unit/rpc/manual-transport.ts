import type { Lane, PeerId, Transport } from '../../../lib/ports/transport.ts'
import { type Frame, readFrame } from '../../../lib/rpc/frame.ts'

/** Takes frames until a lane is full, and shows what was taken. */
export class ManualTransport implements Transport {
  readonly self: PeerId = 'self'
  readonly taken: { peer: PeerId; lane: Lane; frame: Frame; bytes: number }[] = []
  readonly closed: { peer: PeerId; reason: string }[] = []
  readonly full = new Set<string>()

  send(peer: PeerId, lane: Lane, bytes: Uint8Array): boolean {
    if (this.full.has(`${peer}/${lane}`)) return false
    this.taken.push({ peer, lane, frame: readFrame(bytes), bytes: bytes.length })
    return true
  }

  close(peer: PeerId, reason: string): void {
    this.closed.push({ peer, reason })
  }

  /** The messages taken so far, frame by frame. */
  kinds(lane?: Lane): string[][] {
    return this.taken
      .filter(one => lane === undefined || one.lane === lane)
      .map(({ frame }) => frame.messages.map(({ message }) => message.type))
  }

  start = async (): Promise<readonly string[]> => []
  stop = async (): Promise<void> => {}
  connect = async (): Promise<PeerId> => 'peer'
}
