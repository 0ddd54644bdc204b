/** In place of a cache's name: what is said of tags is said of those of all caches. */
export const ALL_CACHES = ''

export interface Floor {
  /** What lies below: keys that begin so; what has this tag; all that has any. */
  readonly kind: 'prefix' | 'tag' | 'tagged'
  /** Of tags it may be `ALL_CACHES`. */
  readonly namespace: string
  /** An encoded prefix, where an empty one is the whole cache; or a tag. */
  readonly text: string
  readonly stamp: number
  /** When it was laid, by the mesh clock. */
  readonly atMs: number
}

/** What a floor may kill: as an entry, or as it travels. */
export interface Floored {
  readonly namespace: string
  readonly key: string
  readonly keeping?: { readonly tags: Uint8Array } | undefined
}
