import { AsyncLocalStorage } from 'node:async_hooks'
import type { Detach } from '../ports/context.ts'

/**
 * Keeps the async context of the place where it is called, usually the start of the mesh, and runs functions in it
 * later: what a request put into its AsyncLocalStorage is not seen there.
 */
export function detachHere(): Detach {
  const inThisContext = AsyncLocalStorage.snapshot()
  return fn => inThisContext(fn)
}
