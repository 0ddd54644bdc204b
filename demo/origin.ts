/** The demo's origin: a database of its own process, slow on purpose, that counts how often it is asked. */
import { createServer } from 'node:http'

const QUERY_MS = 50
let calls = 0

const server = createServer((request, response) => {
  if (request.url === '/calls') {
    response.end(String(calls))
    return
  }
  calls++
  const id = decodeURIComponent((request.url ?? '').slice('/product/'.length))
  setTimeout(() => response.end(JSON.stringify({ id, name: `Product ${id}`, price: 1999 })), QUERY_MS)
})

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object' && address !== null) process.send?.({ port: address.port })
})
// The demo is gone, however it went: so are we.
process.on('disconnect', () => process.exit(0))
