import type { Logger } from '../ports/log.ts'

/**
 * The logger of an application that gave none: what somebody should act on becomes a process warning, which Node
 * prints to stderr and an application can listen to; the rest is silent. Nothing ever goes to stdout, which may be a
 * program's output.
 */
export function nodeLog(): Logger {
  return { debug: () => {}, info: () => {}, warn, error: warn }
}

function warn(o: object, message: string): void {
  const code = codeOf(o)
  process.emitWarning(message, code === undefined ? { type: TYPE } : { type: TYPE, code })
}

const TYPE = 'CacheMeshWarning'

/** The stable code of what went wrong: the line's own, or that of the error it tells of. */
function codeOf(o: object): string | undefined {
  if ('code' in o && typeof o.code === 'string') return o.code
  if ('err' in o && typeof o.err === 'object' && o.err !== null) return codeOf(o.err)
  return undefined
}
