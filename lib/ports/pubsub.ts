import type { Cancel } from './clock.ts'

/**
 * Gossip: a hint, never a promise. A message may be lost, doubled, late or out of order, and its sender is whoever
 * holds the secret. Nothing correct may depend on it; it only makes things quicker.
 *
 * - `publish` never throws and never waits; with nobody listening the message is gone.
 * - A member does not hear its own messages.
 * - The same bytes published twice are two messages.
 */
export interface PubSub {
  publish(topic: string, message: Uint8Array): void
  subscribe(topic: string, onMessage: (message: Uint8Array) => void): Cancel
}

/** The largest message that may be published, in bytes; a larger one is dropped. */
export const GOSSIP_BYTES_MAX = 256 * 1024

/** For a member that is alone by choice. */
export const noPubSub: PubSub = { publish: () => {}, subscribe: () => () => {} }
