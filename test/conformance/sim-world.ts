/** The simulator as a world for the suites: the same guarantees, in virtual time. */
import { turn } from '../../lib/adapters/turn.ts'
import type { PubSub } from '../../lib/ports/pubsub.ts'
import type { Transport } from '../../lib/ports/transport.ts'
import { Network } from '../../lib/sim/network.ts'
import { seededRandom } from '../../lib/sim/random.ts'
import { Process, World } from '../../lib/sim/world.ts'
import type { Settle } from './settle.ts'
import type { TransportInit, TransportWorld } from './transport.suite.ts'

const VIRTUAL_MS_MAX = 60_000
const STEP_MS = 1

const FAULTS = { delayMsMin: 0.2, delayMsMax: 2, loss: 0.01, gossipLoss: 0, gossipDuplication: 0 }

export function settleInVirtualTime(world: World): Settle {
  return async (condition, what) => {
    for (let passedMs = 0; passedMs < VIRTUAL_MS_MAX; passedMs += STEP_MS) {
      await turn()
      if (condition()) return
      await world.run(STEP_MS)
    }
    throw new Error(`did not happen within ${VIRTUAL_MS_MAX} ms of virtual time: ${what}`)
  }
}

export class SimWorld implements TransportWorld {
  readonly world = new World(turn)
  readonly network = new Network(this.world, seededRandom('conformance'), FAULTS)
  readonly settle = settleInVirtualTime(this.world)
  #members = 0

  nowMs(): number {
    return this.world.nowMs
  }

  async make(init: TransportInit): Promise<Transport> {
    return (await this.makeBoth(init)).transport
  }

  async makeBoth({ mesh, secrets, listen }: TransportInit): Promise<{ transport: Transport; pubsub: PubSub }> {
    const name = `member-${this.#members++}`
    const process = new Process(name, 0)
    const realms = secrets.length === 0 ? [`${mesh} open`] : secrets.map(secret => `${mesh} ${secret}`)
    const address = listen ? `${name}:7700` : undefined
    return {
      transport: this.network.transport(process, name, address, realms),
      pubsub: this.network.pubsub(process, name)
    }
  }

  async deadAddress(): Promise<string> {
    return 'nobody:7700'
  }

  async end(): Promise<void> {}
}
