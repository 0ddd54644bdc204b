/**
 * Runs a function outside any caller's async context. A load is shared by callers of many requests and often runs in
 * another process, so it must never see the AsyncLocalStorage of the one that happened to come first.
 */
export type Detach = <T>(fn: () => T) => T
