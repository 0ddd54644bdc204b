/** What a member tells its operator. pino and console fit. No key, value or secret above debug. */
export interface Logger {
  debug(o: object, message: string): void
  info(o: object, message: string): void
  warn(o: object, message: string): void
  error(o: object, message: string): void
}

export const noLog: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
