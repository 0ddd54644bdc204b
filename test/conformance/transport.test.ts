import { libp2pWorld } from './libp2p-world.ts'
import { transportSuite } from './transport.suite.ts'

transportSuite('libp2p', libp2pWorld)
// The simulated network goes here.
