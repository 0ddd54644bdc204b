import { asking } from './asking.ts'
import type { Caches } from './caches.ts'
import { copying } from './copying.ts'
import { BackOffs } from './fill/back-off.ts'
import type { CacheDefinition } from './fill/definition.ts'
import { Flights } from './fill/flight.ts'
import { Guard } from './fill/guard.ts'
import { geometryFor } from './fill/key-filter.ts'
import { Moves } from './fill/moves.ts'
import { Origin } from './fill/origin.ts'
import { WriteBehind } from './fill/write-behind.ts'
import { Membership } from './membership/membership.ts'
import type { MemberRecord, View } from './membership/view.ts'
import { changesBetween, isPresentIn, type ViewChanges } from './membership/view-changes.ts'
import { NearCopies } from './near/near-copies.ts'
import { Complaints } from './observe/complaints.ts'
import { Happenings } from './observe/happenings.ts'
import { Journal } from './observe/journal.ts'
import type { Moved } from './observe/movement.ts'
import { Stats } from './observe/stats.ts'
import type { MeshSettings } from './options.ts'
import { PARTITIONS } from './placement/partitions.ts'
import { buildTable } from './placement/table.ts'
import type { Clock } from './ports/clock.ts'
import type { Detach } from './ports/context.ts'
import type { Logger } from './ports/log.ts'
import type { PubSub } from './ports/pubsub.ts'
import type { Random } from './ports/random.ts'
import type { PeerId, Transport } from './ports/transport.ts'
import type { Replication } from './replication/replication.ts'
import { Client } from './rpc/client.ts'
import { Links } from './rpc/links.ts'
import type { LeaseTalk, MessageOf } from './rpc/messages.ts'
import { Outbox } from './rpc/outbox.ts'
import { Server } from './rpc/server.ts'
import { Budgets } from './serving/budgets.ts'
import { Changing } from './serving/changing.ts'
import { Copies } from './serving/copies.ts'
import { Done } from './serving/done.ts'
import { Filters } from './serving/filters.ts'
import { following } from './serving/following.ts'
import { Handlers } from './serving/handlers.ts'
import { pageOf } from './serving/key-pages.ts'
import { LeasedLoads } from './serving/leased-loads.ts'
import { Owner } from './serving/owner.ts'
import { Ownership } from './serving/ownership.ts'
import { Routes } from './serving/routes.ts'
import type { Writes } from './serving/writes.ts'
import { Store } from './store/store.ts'
import { MeshClock } from './store/version.ts'
import type { Topics } from './topics/topics.ts'

export interface Ports {
  readonly clock: Clock
  readonly random: Random
  readonly transport: Transport
  readonly pubsub: PubSub
  readonly detach: Detach
  readonly log: Logger
  /** A table is a pure function of the view: members of one process may share the work. */
  readonly tableOf?: typeof buildTable
}

/** What the parts ask of the life of their member, and tell it. */
export interface Life {
  readonly isLeaving: () => boolean
  /** Throws when this member has left. */
  readonly checkOpen: () => void
  readonly onView: (changes: ViewChanges) => void
  /** Partitions have changed hands. */
  readonly onMoved: (moved: Moved) => void
}

export class Parts {
  readonly stats = new Stats()
  readonly meshClock: MeshClock
  readonly outbox: Outbox
  readonly client: Client
  readonly store: Store
  readonly flights = new Flights()
  readonly guard: Guard
  readonly budgets: Budgets
  readonly behind: WriteBehind
  readonly writes: Writes
  readonly owner: Owner
  readonly ownership: Ownership
  readonly links: Links
  readonly membership: Membership
  readonly leased: LeasedLoads
  readonly routes: Routes
  readonly filters: Filters
  readonly caches: Caches
  readonly replication: Replication
  readonly near: NearCopies
  readonly topics: Topics
  readonly #self: PeerId
  readonly #clock: Clock
  readonly #settings: MeshSettings
  readonly #life: Life
  readonly #boot: number

  constructor(ports: Ports, settings: MeshSettings, life: Life) {
    this.#self = ports.transport.self
    this.#clock = ports.clock
    this.#settings = settings
    this.#life = life
    const { clock, random, transport, pubsub, detach, log } = ports
    const { stats } = this
    const complaints = new Complaints({ clock, log, stats })
    this.#boot = random.integer(Number.MAX_SAFE_INTEGER)
    this.meshClock = new MeshClock(clock)
    const meshClock = this.meshClock

    const header = () => ({ clockMs: meshClock.now(), viewHash: this.membership.view.hash })
    this.outbox = new Outbox({ transport, clock, stats, header })
    const outbox = this.outbox
    this.client = new Client({ clock, outbox, stats, onTimeout: peer => this.membership.unanswered(peer) })
    const client = this.client

    this.store = new Store({
      ...{ bytesMax: settings.memoryBytes, stats, floorsMs: settings.tombstoneTtlMs },
      random: random.fork('store'),
      onFloor: floor => this.near.cleared(floor)
    })
    const happenings = new Happenings({ clock, detach, stats })
    this.store.leaving.happenings = happenings
    this.guard = new Guard({
      clock,
      stats,
      members: () => this.membership.view.present().length,
      onChange: gate => this.budgets.gateChanged(gate)
    })
    const load = { clock, meshClock, random: random.fork('jitter'), stats, log }
    const origin = new Origin({ ...load, guard: this.guard })
    const moves = new Moves(clock)
    const backOffs = new BackOffs(clock)
    const journal = new Journal(() => clock.monotonic())
    this.behind = new WriteBehind({
      clock,
      random: random.fork('behind'),
      stats,
      log,
      detach,
      definition: namespace => this.caches.definition(namespace),
      tell: write => this.writes.tellStored(write)
    })
    const behind = this.behind
    this.owner = new Owner({
      self: transport.self,
      boot: this.#boot,
      clock,
      meshClock,
      store: this.store,
      behind,
      flights: this.flights,
      ...{ backOffs, journal, moves, origin, stats, detach, happenings },
      random: random.fork('owner'),
      definition: namespace => this.caches.definition(namespace),
      partitionOf: (namespace, key) => this.ownership.partitionOf(namespace, key),
      owns: partition => this.ownership.owns(partition),
      tell: (peer, notice) => this.#tellHolder(peer, notice),
      isLeaving: () => life.isLeaving(),
      follow: following({
        client,
        timeoutMs: settings.timeoutMs,
        hasLink: peer => this.links.has(peer),
        definition: namespace => this.caches.definition(namespace)
      }),
      viewHash: () => this.membership.view.hash,
      tombstoneTtlMs: settings.tombstoneTtlMs,
      copies: {
        changed: (entry, answer) => {
          this.near.changed(entry)
          this.replication.changed(entry, answer)
        },
        look: (namespace, key, onOver) => this.replication.look(namespace, key, undefined, onOver),
        isWarming: partition => this.replication.isWarming(partition),
        mayBeOld: entry => this.replication.mayBeOld(entry)
      },
      filters: {
        mayExist: (namespace, key) => this.filters.mayExist(namespace, key),
        hasValue: (namespace, key) => this.filters.hasValue(namespace, key)
      }
    })
    const owner = this.owner
    const owns = (partition: number): boolean => this.ownership.owns(partition)
    const pages = { store: this.store, owns, nowMs: () => meshClock.now() }

    const done = new Done()
    const changing = new Changing({
      ...{ owner, done, clock, meshClock, stats, store: this.store },
      partitionOf: (namespace, key) => this.ownership.partitionOf(namespace, key),
      owns,
      look: (...what) => this.replication.look(...what),
      confirm: (...what) => this.replication.confirm(...what)
    })
    const copies = new Copies({
      ...{ store: this.store, owner, meshClock, detach },
      definition: namespace => this.caches.definition(namespace),
      partitionOf: (namespace, key) => this.ownership.partitionOf(namespace, key),
      copiedUpTo: partition => this.replication.copiedUpTo(partition),
      isDoubtful: partition => this.replication.isDoubtful(partition),
      isBehind: partition => this.replication.isCopyBehind(partition),
      mayExist: (namespace, key) => this.filters.mayExist(namespace, key)
    })
    const handlers = new Handlers({
      owner,
      changing,
      stats,
      complaints,
      isCertain: () => this.membership.isCertain(),
      settleWith: peer => this.membership.settleWith(peer),
      owns: (namespace, key) => this.ownership.ownerOf(namespace, key) === transport.self,
      viewHash: () => this.membership.view.hash,
      explain: ask => calls.explanations.explain(ask),
      page: ask => pageOf(pages, ask),
      filters: (peer, request) => this.filters.handle(peer, request),
      asked: ({ partition, namespace, key, bytes }) => this.near.demand.asked(partition, namespace, key, bytes.length),
      confirm: ask => this.near.confirm(ask),
      replicas: (peer, request, respond) => {
        if (request.type === 'readCopy') return copies.read(peer, request, respond)
        this.replication.handle(peer, request, respond)
        return undefined
      }
    })
    const server = new Server({
      outbox,
      stats,
      complaints,
      handler: (peer, request, respond) => handlers.handle(peer, request, respond)
    })
    this.links = new Links({
      transport,
      clock,
      outbox,
      client,
      server,
      meshClock,
      stats,
      log,
      complaints,
      hello: () => this.#hello(),
      onUp: (peer, hello) => {
        this.membership.linkUp(peer, hello)
        this.budgets.linkUp(peer)
        this.replication.linkUp(peer, hello.boot)
        this.routes.changed()
      },
      onDown: peer => {
        this.membership.linkDown(peer)
        // One that has left said so long ago, and was heard to the end of what it loaded.
        if (isPresentIn(this.membership.view, peer)) clock.defer(() => this.ownership.foresee(peer))
        else this.#gone(peer)
        this.budgets.linkDown(peer)
        this.replication.linkDown(peer)
      },
      onHeard: (peer, viewHash) => this.membership.heard(peer, viewHash),
      onTalk: (peer, message) => this.membership.message(peer, message),
      onBudgetTalk: (peer, message) => this.budgets.hear(peer, message),
      onLease: (peer, notice) =>
        notice.type === 'drop' ? this.leased.dropped(peer, notice) : owner.fills.holderSays(peer, notice),
      onRefused: peer => this.membership.linkRefused(peer)
    })

    this.membership = new Membership(
      {
        mesh: settings.name,
        transport,
        pubsub,
        outbox,
        clock,
        random: random.fork('membership'),
        stats,
        log,
        complaints,
        sources: settings.sources,
        onView: (before, after) => this.#viewChanged(before, after),
        onBuried: wasAsleep => {
          this.replication.buried(wasAsleep)
          this.filters.doubt()
        },
        onCertain: () => {
          handlers.becameCertain()
          this.routes.changed()
        }
      },
      this.#firstRecord()
    )

    this.ownership = new Ownership({
      self: transport.self,
      mesh: settings.name,
      view: () => this.membership.view,
      lose: lost => owner.lose(lost),
      gained: (partition, from) => moves.gained(partition, from),
      changed: roles => this.replication.tableChanged(roles),
      tableOf: ports.tableOf ?? buildTable
    })
    this.replication = copying({
      ...{ clock, meshClock, client, stats, moves, owner, done, settings },
      self: transport.self,
      store: this.store,
      membership: this.membership,
      ownership: this.ownership,
      links: this.links,
      filters: () => this.filters,
      near: () => this.near,
      definition: namespace => this.caches.definition(namespace),
      isLeaving: () => life.isLeaving(),
      onMoved: moved => life.onMoved(moved)
    })
    this.budgets = new Budgets({
      self: transport.self,
      clock,
      stats,
      guard: this.guard,
      ownerOf: (namespace, key) => this.ownership.ownerOf(namespace, key),
      members: () => this.membership.view.present().map(({ id }) => id),
      linked: () => this.links.peers(),
      post: (peer, message) => outbox.post(peer, 0, message) !== undefined
    })
    this.routes = new Routes({
      self: transport.self,
      clock,
      ownerOf: (namespace, key) => this.ownership.ownerOf(namespace, key),
      partitionOf: (namespace, key) => this.ownership.partitionOf(namespace, key),
      primaryOf: partition => this.ownership.primaryOf(partition),
      ownersOf: partition => this.ownership.ownersOf(partition),
      owners: () => this.membership.view.owners(),
      viewHash: () => this.membership.view.hash,
      isReachable: peer => this.#isReachable(peer),
      isWell: peer => this.#isReachable(peer) && !this.client.isSilent(peer) && !this.#isSuspected(peer),
      isCutOff: peer => !this.#isReachable(peer) || this.#isSuspected(peer),
      agreeWith: peer => this.membership.agreeWith(peer)
    })
    const routes = this.routes
    const forNear = { clock, meshClock, client, stats, complaints, pubsub, boot: this.#boot, mesh: settings.name }
    this.near = new NearCopies({ ...forNear, ...routes.deps, happenings, store: this.store })
    this.leased = new LeasedLoads({ self: transport.self, clock, client, outbox, owner, origin, happenings })
    const mayExist = (namespace: string, key: string): boolean => this.filters.mayExist(namespace, key)
    const { timeoutMs } = settings
    this.filters = new Filters({
      ...{ routes, clock, meshClock, client, stats, log, timeoutMs },
      random: random.fork('filters'),
      isCertain: () => this.membership.isCertain()
    })
    const calls = asking({
      ...{ routes, clock, meshClock, client, owner, stats, copies, mayExist, log, detach, random, behind, changing },
      ...{ timeoutMs, backOffs, journal, happenings },
      ...forNear,
      recordOf: peer => this.membership.view.get(peer),
      store: this.store,
      flights: this.flights,
      guard: this.guard,
      leased: this.leased,
      filters: this.filters,
      ownsKeys: settings.weight > 0,
      bootOf: peer => this.#bootOf(peer),
      near: this.near,
      flushHere: (acks, untilMs) => this.replication.flush(acks, untilMs),
      takeIn: delivered => void handlers.handle(transport.self, delivered, () => {}),
      ownPage: ask => pageOf(pages, ask),
      checkOpen: () => life.checkOpen(),
      onDeclared: definition => this.#declared(definition)
    })
    ;({ writes: this.writes, caches: this.caches, topics: this.topics } = calls)
  }

  /** One that leaves is here until its link ends. */
  #bootOf(peer: PeerId): number | undefined {
    const { view } = this.membership
    return isPresentIn(view, peer) || peer === this.#self || this.links.has(peer) ? view.get(peer)?.boot : undefined
  }

  /** Of ourselves: nobody may have gone on without us. */
  #isReachable(peer: PeerId): boolean {
    return peer === this.#self ? this.membership.isCertain() : this.links.has(peer)
  }

  #isSuspected(peer: PeerId): boolean {
    return this.membership.view.get(peer)?.status === 'suspect'
  }

  /** Neither loads anything for us any more nor waits for what we load. */
  #gone(peer: PeerId): void {
    this.near.gone(peer)
    this.owner.fills.memberGone(peer)
    this.leased.ownerGone(peer)
  }

  #tellHolder(peer: PeerId, notice: LeaseTalk): void {
    if (peer === this.#self) this.leased.dropped(peer, notice)
    else this.outbox.post(peer, 0, notice)
  }

  #viewChanged(before: View, after: View): void {
    const own = this.#self
    this.ownership.viewChanged(before, after)
    // The table is made when it is asked for, and what waits for the origin must not wait for that.
    if (this.behind.size > 0) this.#clock.defer(() => this.ownership.owns(0))
    this.budgets.viewChanged()
    // It has contradicted others who took it for dying or dead, and may have gone on without it.
    if (before.get(own)?.incarnation !== after.get(own)?.incarnation) this.filters.doubt()
    this.filters.viewChanged(after)
    const changes = changesBetween(before, after)
    for (const record of changes.gone) {
      // One that leaves brings home what it loads; until its link ends, its leases hold.
      const now = after.get(record.id)
      const leavesInPeace = now?.status === 'left' && now.boot === record.boot && this.links.has(record.id)
      if (record.id !== own && !leavesInPeace) this.#gone(record.id)
    }
    const gone = changes.gone.map(({ id, boot }) => ({ id, boot, hasLeft: after.get(id)?.status === 'left' }))
    this.replication.viewChanged(gone, changes.come)
    this.#life.onView(changes)
    this.routes.changed()
  }

  #declared(definition: CacheDefinition): void {
    const { namespace, bytesMax, eviction, existsKeys, existsFalsePositives } = definition
    this.near.declare(definition)
    this.store.limit(namespace, { bytesMax, eviction })
    const holds = existsKeys > 0 && this.#settings.weight > 0
    if (holds) this.filters.declare(namespace, geometryFor(existsKeys, existsFalsePositives))
  }

  #firstRecord(): MemberRecord {
    const { weight, zone, host } = this.#settings
    return { id: this.#self, boot: this.#boot, incarnation: 1, status: 'alive', weight, zone, host, addresses: [] }
  }

  #hello(): MessageOf<'hello'> {
    const record = { ...this.membership.self, firstHand: true }
    const { name } = this.#settings
    return {
      type: 'hello',
      mesh: name,
      partitions: PARTITIONS,
      placement: this.ownership.placementPrint,
      boot: this.#boot,
      record
    }
  }
}
