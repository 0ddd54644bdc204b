/**
 * Every error a caller can meet, in one file.
 *
 * An error has a stable `code` to branch on and a message that says what was expected, what was got and what to do.
 * The brand on `Symbol.for` lets `isMeshError` recognise an error made by another copy of this package, where
 * `instanceof` fails. Nothing here carries a cached value or a secret: messages end up in logs.
 */

/** What each code means; README's table of errors is held equal to this by a test. */
export const ERROR_CODES = {
  ERR_MESH_OPTION: 'An option is missing, unknown or of the wrong type.',
  ERR_MESH_KEY: 'A key is not a string or an array of strings, numbers and booleans, is empty, or is over 1 KiB.',
  ERR_MESH_VALUE: 'A value would not survive encoding: undefined, a function, a promise, a class instance, a cycle.',
  ERR_MESH_VALUE_TOO_LARGE: 'A value is larger than maxValueBytes.',
  ERR_MESH_REDEFINED: 'A mesh of this name runs in this process already, or a cache is declared again differently.',
  ERR_MESH_LOAD: 'The loader failed; `cause` tells how, the same in whichever process it ran.',
  ERR_MESH_LOAD_TIMEOUT: 'The loader did not settle within loadTimeout and was aborted.',
  ERR_MESH_TIMEOUT: 'No answer from the mesh within the timeout of the call.',
  ERR_MESH_OVERLOADED: 'A queue is at its cap; nothing was done.',
  ERR_MESH_UNAVAILABLE: 'No member that could answer is reachable.',
  ERR_MESH_CONFLICT: 'Others changed the key each time that update tried; nothing was changed.',
  ERR_MESH_PARTIAL: 'Some keys of a batch failed; `values` and `errors` tell which.',
  ERR_MESH_SECRET: 'The address is not loopback and there is no secret, or the secret is too short.',
  ERR_MESH_LISTEN: 'The address cannot be listened on or announced.',
  ERR_MESH_LEFT: 'This member has left the mesh.'
} as const

export type ErrorCode = keyof typeof ERROR_CODES

/** Codes after which the same call may succeed if it is simply made again. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  'ERR_MESH_TIMEOUT',
  'ERR_MESH_OVERLOADED',
  'ERR_MESH_UNAVAILABLE',
  'ERR_MESH_LOAD',
  'ERR_MESH_LOAD_TIMEOUT'
])

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
    this.retryable = detail.retryable ?? RETRYABLE.has(code)
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

/** Some of a batch failed: `values` has what succeeded at its place, `errors` the failures by position. */
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
