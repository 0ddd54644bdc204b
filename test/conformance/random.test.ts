import { nodeRandom } from '../../lib/adapters/node-random.ts'
import { randomSuite } from './random.suite.ts'

randomSuite('node', nodeRandom)
// The seeded one goes here: randomSuite and seededRandomSuite.
