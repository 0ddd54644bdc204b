import type { Random } from '../ports/random.ts'

/**
 * Chance from the platform. Taken when this module is loaded, so that an application which replaces `Math.random` in a
 * test does not make every member choose alike.
 *
 * Not promised: to be unguessable, or to replay. What must replay uses a seeded one.
 */
const float = Math.random

const platform: Random = {
  float: () => float(),
  integer: belowExclusive => Math.floor(float() * belowExclusive),
  // Draws of the platform do not depend on each other, so its streams need no telling apart.
  fork: () => platform
}

export function nodeRandom(): Random {
  return platform
}
