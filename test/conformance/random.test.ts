import { nodeRandom } from '../../lib/adapters/node-random.ts'
import { seededRandom } from '../../lib/sim/random.ts'
import { randomSuite, seededRandomSuite } from './random.suite.ts'

randomSuite('node', nodeRandom)
randomSuite('seeded', () => seededRandom(1))
seededRandomSuite('seeded', seededRandom)
