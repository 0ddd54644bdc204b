import { adapters } from './libp2p-world.ts'
import { pubsubSuite } from './pubsub.suite.ts'
import { settleInRealTime } from './settle.ts'
import { SimWorld } from './sim-world.ts'

pubsubSuite('libp2p', async () => ({
  settle: settleInRealTime,
  make: () => adapters({ mesh: 'conformance', secrets: [], listen: true }),
  end: async () => {}
}))
pubsubSuite('simulated', async () => {
  const world = new SimWorld()
  return {
    settle: world.settle,
    make: () => world.makeBoth({ mesh: 'conformance', secrets: [], listen: true }),
    end: async () => {}
  }
})
