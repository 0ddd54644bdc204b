/**
 * Every error a caller can meet, in one file.
 *
 * An error has a stable `code` to branch on and a message that says what was expected, what was got and what to do.
 * The brand on `Symbol.for` lets `isMeshError` recognise an error made by another copy of this package, where
 * `instanceof` fails. Nothing here carries a cached value or a secret: messages end up in logs.
 */

interface ErrorMeaning {
  readonly when: string
  /** The same call may succeed if it is simply made again. */
  readonly retryable: boolean
  readonly todo: string
}

/** Every code there is; README's table of errors is held equal to this by a test. */
export const ERROR_CODES = {
  ERR_MESH_OPTION: {
    when: 'An option or argument is missing, unknown or of the wrong type.',
    retryable: false,
    todo: 'Correct the call; the message has the line to write.'
  },
  ERR_MESH_KEY: {
    when: 'A key is not a string or an array of strings, numbers and booleans, is empty, or is over 1 KiB.',
    retryable: false,
    todo: 'Build the key from the ids that name the entry; hash a long one.'
  },
  ERR_MESH_VALUE: {
    when: 'A value would not survive encoding (undefined, a function, a promise, a class instance, a cycle), stored bytes cannot be decoded, or a counter would leave the range of exact numbers.',
    retryable: false,
    todo: 'Store plain data, or give the cache a codec; the message has the path.'
  },
  ERR_MESH_VALUE_TOO_LARGE: {
    when: 'A value is larger than maxValueBytes, or than all that its owner may hold of the cache; or a message of a topic is over 64 KiB.',
    retryable: false,
    todo: 'Raise the limit that the message names, or cache something smaller.'
  },
  ERR_MESH_REDEFINED: {
    when: 'A mesh of this name runs in this process already, or a cache or counter is declared again differently.',
    retryable: false,
    todo: 'Declare it once; `sharedMesh` gives the mesh there is.'
  },
  ERR_MESH_LOAD: {
    when: 'The loader failed; `cause` tells how, the same in whichever process it ran.',
    retryable: true,
    todo: 'Look at `cause`.'
  },
  ERR_MESH_LOAD_TIMEOUT: {
    when: 'The loader did not settle within loadTimeout and was aborted.',
    retryable: true,
    todo: 'Raise loadTimeout, or make the loader honour its signal.'
  },
  ERR_MESH_BACKOFF: {
    when: 'The last load of this key failed, or the origin keeps failing, and it is left alone for a moment; nothing was loaded.',
    retryable: true,
    todo: 'Try again later; staleIfError answers with what was there before.'
  },
  ERR_MESH_STORE: {
    when: "The cache's `store` failed or did not settle within storeTimeout; `cause` tells how. The cache holds no value of the key. With `outcome: 'unknown'` the origin may have it.",
    retryable: true,
    todo: 'Look at `cause`.'
  },
  ERR_MESH_TIMEOUT: {
    when: "No answer from the mesh within the time of the call. With `outcome: 'unknown'` a change may have been made.",
    retryable: true,
    todo: 'Try again. An add or a comparison whose outcome is unknown is not retryable: read first.'
  },
  ERR_MESH_OVERLOADED: {
    when: 'A queue is at its cap; nothing was done.',
    retryable: true,
    todo: 'Slow down, then try again.'
  },
  ERR_MESH_UNAVAILABLE: {
    when: 'No member that could answer is reachable; a change was not made.',
    retryable: true,
    todo: 'Try again, or give the cache a loader to fall back on.'
  },
  ERR_MESH_BACKUPS: {
    when: "The owner of the key has made the change, and fewer backups have it than the call waits for: `written`, `acked`, `wanted`, `missing`. Of a flush with `outcome: 'unknown'`: a member has gone that took changes.",
    retryable: true,
    todo: 'The change stays and is copied when that is possible: wait with `flush`, read it, or ask for fewer by `backupAcks`. Make a delete again. An add or a comparison has been made and is not retryable.'
  },
  ERR_MESH_MIN_MEMBERS: {
    when: 'Fewer members are here than `minMembers`, as on the smaller side of a split; nothing was done.',
    retryable: true,
    todo: 'Try again when the others are back, or answer without the cache; a smaller minMembers serves alone.'
  },
  ERR_MESH_CONFLICT: {
    when: 'Others changed the key each time that update tried, or were storing it all the time; nothing was changed.',
    retryable: true,
    todo: 'Try again, or spread what so many change over several keys or a counter.'
  },
  ERR_MESH_PARTIAL: {
    when: 'A part failed: of a batch some keys, of a clear, of tags or of what exists some members. `values` has what succeeded, `errors` the failures by position.',
    retryable: false,
    todo: 'Look at `errors`; of members it is retryable.'
  },
  ERR_MESH_SECRET: {
    when: 'The address is not loopback and there is no secret, or the secret is too short.',
    retryable: false,
    todo: 'Give every member the same secret: openssl rand -base64 32'
  },
  ERR_MESH_LISTEN: {
    when: 'The address cannot be listened on or announced.',
    retryable: false,
    todo: 'Give another port or a range, or announce one address.'
  },
  ERR_MESH_LEFT: {
    when: 'This member has left the mesh.',
    retryable: false,
    todo: 'Create a new one to go on.'
  }
} as const satisfies Record<string, ErrorMeaning>

export type ErrorCode = keyof typeof ERROR_CODES

const BRAND = Symbol.for('cachemesh.error')

export interface ErrorDetail {
  readonly cache?: string | undefined
  readonly key?: string | undefined
  readonly member?: string | undefined
  readonly cause?: unknown
  readonly outcome?: 'unknown' | undefined
  /** Where the code alone does not tell: an add whose outcome is unknown must not simply be made again. */
  readonly retryable?: boolean | undefined
}

export class MeshError extends Error {
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly cache?: string
  readonly key?: string
  readonly member?: string
  /** A change that may have been made. Without it, a change that failed was not made. */
  readonly outcome?: 'unknown'
  readonly [BRAND] = true

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.name = 'MeshError'
    this.code = code
    this.retryable = detail.retryable ?? ERROR_CODES[code].retryable
    if (detail.outcome !== undefined) this.outcome = detail.outcome
    if (detail.cache !== undefined) this.cache = detail.cache
    if (detail.key !== undefined) this.key = detail.key
    if (detail.member !== undefined) this.member = detail.member
  }
}

/** A loader failed. `cause` is rebuilt from name, message, code and plain fields, so it looks the same everywhere. */
export class LoadError extends MeshError {
  declare readonly cause: Error & Record<string, unknown>

  constructor(message: string, cause: Error, detail: ErrorDetail = {}) {
    super('ERR_MESH_LOAD', message, { ...detail, cause })
    this.name = 'LoadError'
  }
}

/** How far a change has been copied. */
export interface Copied {
  /** True: the owner of the key has it. False: a member has gone that took it, and who else has it is not known. */
  readonly written: boolean
  /** Backups that have it, and how many were to have it. */
  readonly acked: number
  readonly wanted: number
  /** Ids of members that have not confirmed. */
  readonly missing: readonly string[]
}

/** Fewer backups have a change than its caller waits for. With `written` it was made all the same, and stays. */
export class BackupsError extends MeshError implements Copied {
  readonly written: boolean
  readonly acked: number
  readonly wanted: number
  readonly missing: readonly string[]

  constructor(message: string, { written, acked, wanted, missing }: Copied, detail: ErrorDetail = {}) {
    super('ERR_MESH_BACKUPS', message, detail)
    this.name = 'BackupsError'
    this.written = written
    this.acked = acked
    this.wanted = wanted
    this.missing = missing
  }
}

/**
 * Some of a batch failed: `values` has what succeeded at its place, `errors` the failures by position. Of a `clear`, and
 * of what `exists` is told, `values` are the members that have confirmed, and each of the errors names its `member`.
 */
export class PartialError extends MeshError {
  readonly values: readonly unknown[]
  readonly errors: ReadonlyMap<number, Error>

  constructor(
    message: string,
    values: readonly unknown[],
    errors: ReadonlyMap<number, Error>,
    detail: ErrorDetail = {}
  ) {
    super('ERR_MESH_PARTIAL', message, detail)
    this.name = 'PartialError'
    this.values = values
    this.errors = errors
  }
}

/** True for an error of this package, also one made by another copy of it in the same process. */
export function isMeshError(error: unknown, code?: ErrorCode): error is MeshError {
  if (typeof error !== 'object' || error === null || !(BRAND in error)) return false
  return code === undefined || (error as MeshError).code === code
}

/** How a refused value is named in a message: its kind and, where it is short and harmless, itself. */
export function got(value: unknown): string {
  if (value === null || value === undefined) return `${value}`
  if (typeof value === 'string')
    return value.length <= 40 ? `'${value}' (string)` : `a string of ${value.length} characters`
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return `${value} (${typeof value})`
  if (typeof value === 'function') return 'a function'
  if (Array.isArray(value)) return `an array of ${value.length}`
  return typeof value === 'object' ? `an object (${value.constructor?.name ?? 'no prototype'})` : `a ${typeof value}`
}
