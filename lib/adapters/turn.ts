/** Resolves when all promise jobs that are due have run: the simulator's steps are divided by it. */
const { setImmediate } = globalThis

export function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
