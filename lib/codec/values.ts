/**
 * Values to bytes and back. Owners and backups keep only the bytes; they are decoded in the process that asks.
 *
 * The first byte says what follows. Bytes stay bytes; a user's codec marks its own, so that a process without it says
 * so instead of guessing; everything else is MessagePack, after a walk that refuses what would come back different.
 * Encoding happens also in a mesh of one and for the process that loaded, or a value that does not survive would show
 * only in production.
 *
 * MessagePack is written without shared structures (two peers with different ones decode each other's objects into
 * wrong ones, silently) and without the library's own types (see `rich.ts`). What is returned is private memory on both
 * ways: no view onto the library's buffer and none onto the frame a value came in.
 *
 * Not promised: that bytes which a member with the secret forged decode into anything sensible.
 */
import { Packr, RESET_BUFFER_MODE } from 'msgpackr'
import { got, MeshError } from '../base/errors.ts'
import { inspect, type Refusal } from './faithful.ts'
import { lower, raise } from './rich.ts'

/** Which value it is, of a cache or published to a topic: named in errors. */
type ValueAt = { readonly cache: string; readonly key: string } | { readonly topic: string }

/** What is being encoded and for whom: a loader may answer undefined, `set` may not be given it. */
type EncodeAt = ValueAt & { readonly allowUndefined?: boolean | undefined }

export interface ValueCodec {
  /**
   * Throws ERR_MESH_VALUE with the path to what would not survive, and ERR_MESH_VALUE_TOO_LARGE for a value that is
   * over any possible limit already before it is encoded.
   */
  encode(value: unknown, at: EncodeAt): Uint8Array
  /** Throws ERR_MESH_VALUE; the message holds nothing of the data. */
  decode(bytes: Uint8Array, at?: ValueAt): unknown
}

/** What a user may give a cache. Synchronous, and the same in every process that declares the cache. */
export interface UserCodec {
  encode(value: unknown): Uint8Array
  decode(bytes: Uint8Array): unknown
}

/** The first byte of an encoded value. These numbers travel: append, never change. */
const TAG = { undefined: 0, plain: 1, buffer: 2, custom: 3, uint8Array: 4, rich: 5 } as const

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  variableMapSize: true,
  useToJSON: false,
  structuredClone: false,
  copyBuffers: true
})

export const defaultCodec: ValueCodec = {
  encode(value, at) {
    if (value === undefined) return encodeUndefined(at)
    if (value instanceof Uint8Array) {
      const prototype: unknown = Object.getPrototypeOf(value)
      if (prototype === Buffer.prototype) return tagged(TAG.buffer, value)
      if (prototype === Uint8Array.prototype) return tagged(TAG.uint8Array, value)
    }
    return encodeInspected(value, at)
  },
  decode(bytes, at) {
    switch (bytes[0]) {
      case TAG.undefined:
        return undefined
      case TAG.plain:
        return unpack(bytes, at)
      case TAG.rich:
        return raiseUnpacked(bytes, at)
      case TAG.buffer:
        return bufferOf(bytes)
      case TAG.uint8Array:
        return bodyOf(bytes)
      case TAG.custom:
        throw unreadable(at, 'it was written with a codec that this cache does not have here', SAME_EVERYWHERE)
      default:
        throw unreadable(at, 'its first byte is unknown', SAME_EVERYWHERE)
    }
  }
}

/** Values go through the user's codec; undefined, which no codec should have to know, does not. */
export function customCodec(codec: UserCodec): ValueCodec {
  return {
    encode(value, at) {
      return value === undefined ? encodeUndefined(at) : tagged(TAG.custom, encodeWith(codec, value, at))
    },
    decode(bytes, at) {
      if (bytes[0] === TAG.undefined) return undefined
      if (bytes[0] !== TAG.custom)
        throw unreadable(at, 'it was written without the codec of this cache', SAME_EVERYWHERE)
      return decodeWith(codec, bodyOf(bytes), at)
    }
  }
}

const SAME_EVERYWHERE = 'declare the cache alike in every process and raise its version when its codec changes'

function encodeUndefined(at: EncodeAt): Uint8Array {
  if (at.allowUndefined !== true)
    throw unfit(at, 'value is undefined, which means a miss: store null, or delete the entry')
  return Uint8Array.of(TAG.undefined)
}

function encodeInspected(value: unknown, at: EncodeAt): Uint8Array {
  try {
    const verdict = inspect(value)
    if (typeof verdict === 'object') throw refused(verdict, at)
    const isRich = verdict === 'rich'
    return tagged(isRich ? TAG.rich : TAG.plain, packr.pack(isRich ? lower(value) : value, RESET_BUFFER_MODE))
  } catch (error) {
    if (error instanceof MeshError) throw error
    // A getter or a proxy in the value has thrown: that error is the caller's own and tells where.
    throw unfit(at, 'value could not be read: a getter of it has thrown', error)
  }
}

function encodeWith(codec: UserCodec, value: unknown, at: ValueAt): Uint8Array {
  let bytes: unknown
  try {
    bytes = codec.encode(value)
  } catch (error) {
    throw unfit(at, 'the codec of the cache has thrown while encoding', error)
  }
  if (!(bytes instanceof Uint8Array))
    throw unfit(at, `expected a Uint8Array from the codec's encode, got ${got(bytes)}: it must be synchronous`)
  return bytes
}

function decodeWith(codec: UserCodec, body: Uint8Array, at: ValueAt | undefined): unknown {
  try {
    return codec.decode(body)
  } catch (error) {
    throw unreadable(at, 'the codec of the cache has thrown while decoding', SAME_EVERYWHERE, error)
  }
}

function unpack(bytes: Uint8Array, at: ValueAt | undefined): unknown {
  try {
    // The library reads text faster from a Buffer. What it decodes are copies.
    return packr.unpack(Buffer.from(bytes.buffer, bytes.byteOffset + 1, bytes.byteLength - 1)) as unknown
  } catch {
    // The error is dropped on purpose: its message can quote the data.
    throw unreadable(at, 'its bytes are damaged or of another version', SAME_EVERYWHERE)
  }
}

function raiseUnpacked(bytes: Uint8Array, at: ValueAt | undefined): unknown {
  const lowered = unpack(bytes, at)
  try {
    return raise(lowered)
  } catch {
    throw unreadable(at, 'its bytes are damaged or of another version', SAME_EVERYWHERE)
  }
}

/** A copy of exactly the right size: the encoder's own buffer is written over by the next value. */
function tagged(tag: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1 + body.byteLength)
  bytes[0] = tag
  bytes.set(body, 1)
  return bytes
}

/** A copy, in the memory that small Buffers share: making one of its own would cost more than the copy. */
function bufferOf(bytes: Uint8Array): Buffer {
  const body = Buffer.allocUnsafe(bytes.byteLength - 1)
  body.set(bytes.subarray(1))
  return body
}

/** A copy. `slice` of a Buffer would be a view, hence not the method of `bytes` itself. */
function bodyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const body = new Uint8Array(bytes.byteLength - 1)
  body.set(bytes.subarray(1))
  return body
}

function refused({ path, reason, tooLarge }: Refusal, at: ValueAt): MeshError {
  if (!tooLarge) return unfit(at, `${path} ${reason}`)
  return new MeshError('ERR_MESH_VALUE_TOO_LARGE', `${nameOf(at)}: ${path} ${reason}`, detailOf(at))
}

function unfit(at: ValueAt, problem: string, cause?: unknown): MeshError {
  return new MeshError('ERR_MESH_VALUE', `${nameOf(at)}: ${problem}`, { ...detailOf(at), cause })
}

function unreadable(at: ValueAt | undefined, problem: string, todo: string, cause?: unknown): MeshError {
  const what = at === undefined ? 'stored value' : 'topic' in at ? nameOf(at) : `stored ${nameOf(at)}`
  return new MeshError('ERR_MESH_VALUE', `${what} cannot be decoded: ${problem}; ${todo}`, {
    ...(at === undefined ? {} : detailOf(at)),
    cause
  })
}

function nameOf(at: ValueAt): string {
  return 'topic' in at ? `message of topic '${at.topic}'` : `value of cache '${at.cache}'`
}

function detailOf(at: ValueAt): { readonly cache?: string; readonly key?: string } {
  return 'topic' in at ? {} : { cache: at.cache, key: at.key }
}
