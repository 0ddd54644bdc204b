/**
 * From options to a running member: the only place where the core meets the real clock, the real network and the
 * machine. libp2p is loaded here and only when there is a network to join, because loading it costs a third of a second
 * and 35 MB that tests, scripts and builds should not pay.
 *
 * There is one mesh per name and process. The registry hangs on the global object, because bundlers and two copies of
 * this package each have module state of their own.
 */
import { dns } from './adapters/dns-discovery.ts'
import { local } from './adapters/local-discovery.ts'
import { mdns } from './adapters/mdns-discovery.ts'
import { nodeClock } from './adapters/node-clock.ts'
import { detachHere } from './adapters/node-context.ts'
import { nodeLog } from './adapters/node-log.ts'
import { nodeRandom } from './adapters/node-random.ts'
import { machineFacts } from './adapters/surroundings.ts'
import { MeshError } from './base/errors.ts'
import { LocalMember } from './local-member.ts'
import type { Mesh } from './mesh.ts'
import { type MeshOptions, type MeshSettings, meshSettings } from './options.ts'
import { type Logger, noLog } from './ports/log.ts'
import { noPubSub, type PubSub } from './ports/pubsub.ts'
import { noTransport, type Transport } from './ports/transport.ts'

export { dns, local, mdns }

interface Running {
  readonly started: Promise<LocalMember>
  /** Set once it has started. */
  member?: LocalMember
}

/** Listens, makes one round of discovery (at most 3 s) and resolves, alone or not. */
export async function createMesh(options: MeshOptions): Promise<Mesh> {
  const settings = settingsOf(options)
  if (running(settings.name) !== undefined) {
    throw new MeshError(
      'ERR_MESH_REDEFINED',
      `A mesh named '${settings.name}' runs in this process already. Use the one you have, use sharedMesh() to get it, or leave it first.`
    )
  }
  return begin(settings)
}

/** The mesh of that name in this process, made if there is none: for hot reload and for modules loaded twice. */
export async function sharedMesh(options: MeshOptions): Promise<Mesh> {
  const settings = settingsOf(options)
  return running(settings.name)?.started ?? begin(settings)
}

let saidSolo = false

function settingsOf(options: MeshOptions): MeshSettings {
  const facts = machineFacts()
  const settings = meshSettings(options, { ...facts, defaultDiscovery: local })
  const isImplied = settings.listen === false && options.listen === undefined && !saidSolo
  if (isImplied) {
    saidSolo = true
    logOf(settings).info(
      { code: 'CACHEMESH_SOLO' },
      `the mesh '${settings.name}' is alone in its process because ${facts.soloBecause}; give listen or discovery to change that`
    )
  }
  return settings
}

function running(name: string): Running | undefined {
  const entry = registry().get(name)
  return entry?.member?.state === 'left' ? undefined : entry
}

function begin(settings: MeshSettings): Promise<LocalMember> {
  const entry: Running = { started: start(settings) }
  registry().set(settings.name, entry)
  entry.started.then(
    member => {
      entry.member = member
    },
    // Whoever called hears of the failure; here only the name becomes free again.
    () => registry().delete(settings.name)
  )
  return entry.started
}

async function start(settings: MeshSettings): Promise<LocalMember> {
  const log = logOf(settings)
  const random = nodeRandom()
  const { transport, pubsub } = await network(settings, log)
  const member = new LocalMember({ clock: nodeClock(), random, transport, pubsub, detach: detachHere(), log }, settings)
  await member.start()
  return member
}

async function network(settings: MeshSettings, log: Logger): Promise<{ transport: Transport; pubsub: PubSub }> {
  const { name: mesh, secrets, listen, announce, sources } = settings
  const isSolo = listen === false && sources.length === 0
  if (isSolo)
    return {
      transport: noTransport(
        `solo-${nodeRandom()
          .integer(2 ** 48)
          .toString(36)}`
      ),
      pubsub: noPubSub
    }
  const { libp2pAdapters } = await import('./adapters/libp2p-transport.ts')
  return libp2pAdapters({ mesh, secrets, listen, announce, log })
}

function logOf(settings: MeshSettings): Logger {
  if (settings.log === false) return noLog
  return settings.log ?? nodeLog()
}

const REGISTRY = Symbol.for('cachemesh.running')

function registry(): Map<string, Running> {
  const global = globalThis as { [REGISTRY]?: Map<string, Running> }
  global[REGISTRY] ??= new Map()
  return global[REGISTRY]
}
