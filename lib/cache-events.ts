/**
 * Who of the application listens to a cache. What happens to keys is asked for while somebody listens, and not before;
 * the cache is known by the namespace it has when something happens, for a handle may be older than its declaration.
 */
import type { CacheEvents } from './cache.ts'
import { decodeKey, type Key } from './codec/keys.ts'
import { refuse } from './door.ts'
import { Events } from './observe/events.ts'
import type { Happened, Happenings } from './observe/happenings.ts'
import type { Cancel } from './ports/clock.ts'
import type { Logger } from './ports/log.ts'
import { ALL_CACHES } from './store/floor.ts'
import type { Warmed } from './warming.ts'

export interface CacheListenersDeps {
  readonly happenings: Happenings
  readonly log: Logger
  readonly definition: () => { readonly namespace: string }
}

/** As they are told in here, with encoded keys. */
type Told = Happened & Pick<CacheEvents, 'warm'>

const HAPPENING: ReadonlySet<string> = new Set<keyof Happened>(['fill', 'invalidate', 'evict', 'hot'])

export class CacheListeners {
  readonly #name: string
  readonly #deps: CacheListenersDeps
  readonly #events: Events<Told>
  readonly #heard = new Map<keyof Happened, { listeners: number; readonly stop: Cancel }>()

  constructor(name: string, deps: CacheListenersDeps) {
    this.#name = name
    this.#deps = deps
    this.#events = new Events(deps.log)
  }

  on<E extends keyof CacheEvents<Key>>(event: E, listener: (event: CacheEvents<Key>[E]) => void): Cancel {
    this.#check(event, listener)
    // Decoded for each, and where what throws is reported: a key may come from a member that makes none.
    const stop = this.#events.on(event, told => listener(decoded(told) as CacheEvents<Key>[E]))
    const release = isHappening(event) ? this.#hear(event) : () => {}
    let isOn = true
    return () => {
      if (!isOn) return
      isOn = false
      stop()
      release()
    }
  }

  warmed(progress: Warmed & { readonly done: boolean }): void {
    this.#events.emit('warm', progress)
  }

  /** Asks to be told of it, as long as somebody listens. */
  #hear(event: keyof Happened): Cancel {
    const heard = this.#heard.get(event) ?? { listeners: 0, stop: this.#listen(event) }
    heard.listeners++
    this.#heard.set(event, heard)
    return () => {
      if (--heard.listeners > 0) return
      heard.stop()
      this.#heard.delete(event)
    }
  }

  #listen<E extends keyof Happened>(event: E): Cancel {
    const { happenings, definition } = this.#deps
    return happenings.listen(event, (namespace, what) => {
      if (namespace === definition().namespace || namespace === ALL_CACHES) this.#events.emit(event, what as Told[E])
    })
  }

  #check(event: unknown, listener: unknown): void {
    const about = `of cache '${this.#name}'`
    if (event !== 'warm' && !isHappening(event))
      refuse(`the event ${about}`, `one of ${[...HAPPENING, 'warm'].join(', ')}`, event, "Write cache.on('fill', …).")
    if (typeof listener !== 'function')
      refuse(`the listener ${about}`, 'a function', listener, `Write cache.on('${String(event)}', event => …).`)
  }
}

function isHappening(event: unknown): event is keyof Happened {
  return HAPPENING.has(event as string)
}

function decoded(told: Told[keyof Told]): object {
  return 'key' in told ? { ...told, key: decodeKey(told.key) } : told
}
