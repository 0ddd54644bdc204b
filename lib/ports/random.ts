/**
 * Chance, as the core sees it. One seed replays a whole mesh.
 *
 * - `float()` is uniform in [0, 1); `integer(n)` is uniform in 0 … n−1, n up to 2^53.
 * - `fork(label)` is an independent stream; forking does not disturb the parent, so a new user of chance in one
 *   place does not change what happens in another.
 * - Not for secrets: keys and handshakes belong to the transport.
 */
export interface Random {
  float(): number
  integer(belowExclusive: number): number
  fork(label: string): Random
}
