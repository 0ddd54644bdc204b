/** A primary of node:cluster: starts the workers and does nothing else, as such programs do. */
import cluster from 'node:cluster'
import { join } from 'node:path'

cluster.setupPrimary({ exec: join(import.meta.dirname, 'worker.js') })
for (let i = 0; i < Number(process.env.WORKERS); i++) cluster.fork()
// Whoever started it has gone: so does it, and its workers with it.
process.on('disconnect', () => process.exit())
