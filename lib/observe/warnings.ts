/**
 * Every warning is an event too, for those who watch the mesh and not the log.
 */
import type { Logger } from '../ports/log.ts'

export function withWarnings(log: Logger, onWarning: (warning: { code: string; message: string }) => void): Logger {
  return {
    debug: (o, message) => log.debug(o, message),
    info: (o, message) => log.info(o, message),
    error: (o, message) => log.error(o, message),
    warn: (o, message) => {
      log.warn(o, message)
      onWarning({ code: 'code' in o ? String(o.code) : 'CACHEMESH_WARNING', message })
    }
  }
}
