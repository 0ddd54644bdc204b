/**
 * What applications publish to a topic, as gossip: messages of one publisher, in its order, with a number by which their
 * doubles are known.
 */
import { type ByteReader, type ByteWriter, Malformed } from '../base/bytes.ts'
import { bytes, type Field, type Fields, listOf, readFields, real, writeFields } from './fields.ts'
import { peerText } from './words.ts'

/** A larger one belongs into a cache, and its key into the message. */
export const TOPIC_MESSAGE_BYTES_MAX = 64 * 1024
/** Told at once, far below what gossip carries. */
export const TOPIC_MESSAGES_MAX = 1_024

/** Counted from 1 on by its publisher. A number that cannot be counted on would close the line to all that follow. */
const counted: Field<number> = {
  write: (to, value) => to.f64(value),
  read: from => {
    const value = real.read(from)
    if (!Number.isSafeInteger(value) || value < 1) throw new Malformed(`the number ${value} of what was published`)
    return value
  }
}

const published = {
  publisher: peerText,
  boot: real,
  number: counted,
  messages: listOf(bytes(TOPIC_MESSAGE_BYTES_MAX, 'message'), TOPIC_MESSAGES_MAX, 'messages')
}
export type Published = Fields<typeof published>

export function writePublished(to: ByteWriter, told: Published): void {
  writeFields(published, to, told)
}

/** The messages are views of what is read. */
export function readPublished(from: ByteReader): Published {
  const told = readFields(published, from)
  from.end('what was published')
  return told
}
