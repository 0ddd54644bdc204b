/**
 * Messages as bytes: the table of layouts, and beside it the same bytes written out by hand for those that travel with
 * every read and write.
 *
 * Walking the table costs a call and a property by name for each field, and makes an object whose shape the engine
 * cannot know; written out, a message of four fields takes a fifth of the time. What is by hand here is held equal to
 * the table by a property test, byte for byte and in both directions. The caps are the table's.
 */
import { type ByteReader, type ByteWriter, type LastText, Malformed } from '../base/bytes.ts'
import { TAGS_BYTES_MAX } from '../codec/tags.ts'
import { readFields, writeFields } from './fields.ts'
import {
  FOUND_STATES,
  KEYS_MAX,
  KINDS,
  type Kind,
  LAYOUTS,
  type Message,
  type MessageOf,
  READ_MODES,
  READ_WISHES
} from './messages.ts'
import { KEY_TEXT_MAX, NAMESPACE_TEXT_MAX, PEER_TEXT_MAX, VALUE_BYTES_MAX } from './words.ts'

const numbers = Object.fromEntries(KINDS.map((kind, number) => [kind, number])) as Record<Kind, number>

export function kindNumber(kind: Kind): number {
  return numbers[kind]
}

export function writeMessage(message: Message, to: ByteWriter): void {
  switch (message.type) {
    case 'read':
      to.text(message.namespace)
      to.text(message.key)
      to.u8(READ_MODES.indexOf(message.mode))
      return to.u8(READ_WISHES.indexOf(message.wish))
    case 'hit':
      to.f64(message.stamp)
      to.text(message.writer)
      to.f64(message.expiresAtMs)
      to.u8(message.negative ? 1 : 0)
      return to.bytes(message.bytes)
    case 'hot':
      to.f64(message.stamp)
      to.text(message.writer)
      to.f64(message.expiresAtMs)
      to.u8(message.negative ? 1 : 0)
      to.bytes(message.bytes)
      return to.bytes(message.tags)
    case 'found':
      to.u8(message.last ? 1 : 0)
      to.u32(message.items.length)
      for (const { state, bytes } of message.items) {
        to.u8(FOUND_STATES.indexOf(state))
        to.bytes(bytes)
      }
      return
    default:
      return writeFields(LAYOUTS[message.type], to, message)
  }
}

export function readMessageOf(kind: Kind, from: ByteReader): Message {
  switch (kind) {
    case 'read':
      return readRead(from)
    case 'hit':
      return readHit(from)
    case 'hot':
      return { ...readHit(from), type: 'hot', tags: from.bytes(TAGS_BYTES_MAX, 'tags') }
    case 'found':
      return readFound(from)
    default:
      return { type: kind, ...readFields(LAYOUTS[kind], from) } as Message
  }
}

/** A memory of what was read last, and of nothing that matters: a wrong guess costs a comparison. */
const lastNamespace: LastText = { text: '', bytes: new Uint8Array(0) }
const lastWriter: LastText = { text: '', bytes: new Uint8Array(0) }

function readRead(from: ByteReader): MessageOf<'read'> {
  const namespace = from.sameText(NAMESPACE_TEXT_MAX, 'namespace', lastNamespace)
  const key = from.text(KEY_TEXT_MAX, 'key')
  const mode = READ_MODES[from.u8()]
  if (mode === undefined) throw new Malformed(`none of ${READ_MODES.join(', ')}`)
  const wish = READ_WISHES[from.u8()]
  if (wish === undefined) throw new Malformed(`none of ${READ_WISHES.join(', ')}`)
  return { type: 'read', namespace, key, mode, wish }
}

function readHit(from: ByteReader): MessageOf<'hit'> {
  const stamp = realNumber(from)
  const writer = from.sameText(PEER_TEXT_MAX, 'member id', lastWriter)
  const expiresAtMs = realNumber(from)
  const negative = from.u8() === 1
  return { type: 'hit', stamp, writer, expiresAtMs, negative, bytes: from.bytes(VALUE_BYTES_MAX, 'value') }
}

function readFound(from: ByteReader): MessageOf<'found'> {
  const last = from.u8() === 1
  const count = from.length(KEYS_MAX, 'items')
  const items: MessageOf<'found'>['items'][number][] = []
  for (let i = 0; i < count; i++) {
    const state = FOUND_STATES[from.u8()]
    if (state === undefined) throw new Malformed(`none of ${FOUND_STATES.join(', ')}`)
    items.push({ state, bytes: from.bytes(VALUE_BYTES_MAX, 'value') })
  }
  return { type: 'found', last, items }
}

function realNumber(from: ByteReader): number {
  const value = from.f64()
  if (Number.isNaN(value)) throw new Malformed('a number is NaN')
  return value
}
