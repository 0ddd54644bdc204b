// Runs in a project that has installed the package: by import, over real sockets, and through the testing entry.
import { createMesh, isMeshError, local } from 'cachemesh'
import { cluster } from 'cachemesh/testing'

const alone = await createMesh({ name: 'alone', listen: false })
const products = alone.cache('products', { ttl: '1h', load: id => `loaded ${id}` })
const value = await products.get('lamp')
const wrong = await alone.cache('plain', { ttl: '1h' }).set('key', undefined).then(String, error => error)
await alone.leave()

const discovery = [local({ dir: process.argv[2] })]
const [one, other] = await Promise.all([
  createMesh({ name: 'real', discovery }),
  // Two members in one process meet only under different names, so the second one is a stranger.
  createMesh({ name: 'stranger', discovery })
])
const members = [one.members.length, other.members.length]
const stored = one.cache('plain', { ttl: '1h' })
await stored.set(['key', 1], { at: new Date(0) })
const copy = await stored.get(['key', 1])
await Promise.all([one.leave(), other.leave()])

const simulated = cluster(3, { seed: 7 })
await simulated.run('5s')
const views = simulated.meshes.map(mesh => mesh.members.length)

console.log(JSON.stringify({ value, wrong: isMeshError(wrong, 'ERR_MESH_VALUE'), members, at: copy.at.getTime(), views }))
