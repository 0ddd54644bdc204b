import { libp2pWorld } from './libp2p-world.ts'
import { SimWorld } from './sim-world.ts'
import { transportSuite } from './transport.suite.ts'

transportSuite('libp2p', libp2pWorld)
transportSuite('simulated', async () => new SimWorld())
