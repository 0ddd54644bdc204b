/**
 * `cachemesh/testing`: a whole mesh in one test, without sockets and without real time.
 */
import { detachHere } from './adapters/node-context.ts'
import { turn } from './adapters/turn.ts'
import { Cluster, type ClusterOptions } from './sim/cluster.ts'

export type { ClusterOptions } from './sim/cluster.ts'
export type { NetworkFaults } from './sim/network.ts'
export type { Cluster }

export function cluster(size: number, options: ClusterOptions): Cluster {
  return new Cluster(size, options, { drain: turn, detach: detachHere() })
}
