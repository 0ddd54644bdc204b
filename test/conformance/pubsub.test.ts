import { adapters } from './libp2p-world.ts'
import { pubsubSuite } from './pubsub.suite.ts'
import { settleInRealTime } from './settle.ts'

pubsubSuite('libp2p', async () => ({
  settle: settleInRealTime,
  make: () => adapters({ mesh: 'conformance', secrets: [], listen: true }),
  end: async () => {}
}))
// The simulated one goes here.
