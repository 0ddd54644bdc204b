/**
 * Plain counters of one member, each with its meaning. Counters only rise; gauges are read when asked for. The README
 * lists them in these words, and a test holds the two equal.
 * Names are those of the metrics in camelCase, so that a number means the same in code, in a dashboard and here.
 */
export class Stats {
  /** Reads answered from this member's own store. */
  readsLocalTotal = 0
  /** Reads answered by another member from its store. */
  readsOwnerTotal = 0
  /** Reads answered from a near copy, in this process. */
  readsNearTotal = 0
  /** Values kept as near copies. */
  nearKeptTotal = 0
  /** Near copies dropped because their owner told that the key has changed. */
  nearDroppedTotal = 0
  /** Replies of this member that let their reader keep a hot key near for a moment. */
  hotGrantsTotal = 0
  /** Questions to owners how far their changes are, for the sake of near copies. */
  confirmationsTotal = 0
  /** Changes told by gossip to those who keep near copies. */
  invalidationsSentTotal = 0
  /** Changes heard from others, some of them twice. */
  invalidationsHeardTotal = 0
  /** Gaps seen in the changes that gossip told; what is missing is asked for. */
  invalidationGapsTotal = 0
  /** How often all near copies of an owner were dropped, because it did not remember what had been missed or was started anew. */
  invalidationsLostTotal = 0
  /** Reads that found nothing and did not load. */
  readsMissTotal = 0
  /** Reads that got the result of a load, their own or one they waited for. */
  readsLoadTotal = 0
  /** Reads answered with a value past its TTL, as staleWhileRevalidate, staleIfError or softTimeout allow. */
  readsStaleTotal = 0
  /** Of those, how many because the load took longer than softTimeout. */
  softTimeoutsTotal = 0
  /** Reads answered from a copy, because the owner of the key could not be reached, was not heard or was slow. */
  readsBackupTotal = 0
  /** Reads for which a backup was asked as well, because the owner of the key was slow to answer. */
  readsHedgedTotal = 0
  /** Of those, how many the backup answered first. */
  hedgesWonTotal = 0
  /** Reads that went to a backup in place of the owner of the key, which could not be reached or was not heard. */
  failoversTotal = 0
  /** Reads that joined a call of this member that had not left yet. */
  readsJoinedTotal = 0
  /** Values written for this member's callers. */
  writesTotal = 0
  /** Keys deleted for this member's callers. */
  deletesTotal = 0
  /** Invalidations told to this member that had nothing to do, because one with that version or a higher one was made before. */
  invalidationsRepeatedTotal = 0
  /** Values written for this member's callers only if nobody had changed them: compareAndSet and each try of update. */
  comparesTotal = 0
  /** Of those, how many found another version than the one expected. */
  comparesRefusedTotal = 0
  /** Keys touched for this member's callers. */
  touchesTotal = 0
  /** Additions to counters made for this member's callers. */
  countsTotal = 0
  /** Caches cleared, in whole or in part, for this member's callers. */
  clearsTotal = 0
  /** Tags invalidated, in one cache or in all, for this member's callers. */
  tagsInvalidatedTotal = 0
  /** Pages of keys asked for by this member's callers. */
  keyPagesTotal = 0
  /** Changes sent once more, because a link was lost, nobody answered, or the key had another owner. */
  changesResentTotal = 0
  /** Changes of other members that came again after they had been made here; they were not made again. */
  changesRepeatedTotal = 0
  /** Loader calls begun in this process. */
  loadsTotal = 0
  /** Keys loaded together with others, by calls of loadMany. */
  loadsBatchedTotal = 0
  /** Keys loaded for warm. */
  loadsWarmTotal = 0
  /** Loads that found nothing: null or undefined. */
  loadsNegativeTotal = 0
  /** Loader calls that did not settle within loadTimeout. */
  loadsTimedOutTotal = 0
  /** Loader calls that threw, timed out or gave a value that cannot be encoded. */
  loadsFailedTotal = 0
  /** Loader calls made without the owner, because it could not be reached; their results are not stored. */
  loadsUnstoredTotal = 0
  /** Loader calls begun behind a stale answer. */
  refreshesStaleTotal = 0
  /** Loader calls begun ahead of the end of a TTL, by earlyRefresh or refreshAhead. */
  refreshesEarlyTotal = 0
  /** Reads of keys of this member that loaded nothing, because the last load had failed a moment ago. */
  loadsBackedOffTotal = 0
  /** Loads given up because nobody in the mesh waited for them any more. */
  loadsAbortedTotal = 0
  /** Times that this member, new owner of a key, asked the one before for the load it may have under way. */
  loadsFollowedTotal = 0
  /** Loader calls refused because too many waited, none became possible within loadTimeout, or the breaker was open. */
  loadsRefusedTotal = 0
  /** Times that this member shared out loadConcurrency by itself, because it could not reach the one that does. */
  loadBudgetFallbacksTotal = 0
  /** Times that a circuit breaker opened, again too; counted by the one member that keeps it. */
  breakersOpenedTotal = 0
  /** Loads not begun, because the filter of keys that exist says that there is no such key. */
  loadsSparedTotal = 0
  /** Filters of keys that exist fetched from other members, in whole or what differed. */
  filterTransfersTotal = 0
  /** Results of loads not stored because the key was written, deleted or moved while they ran. */
  fillsFencedTotal = 0
  /** Leases that ended without a result: the holder died, left or went silent. */
  leasesLostTotal = 0
  /** Calls of `store` begun in this process. */
  storesTotal = 0
  /** Calls of `store` that threw or timed out. */
  storesFailedTotal = 0
  /** Keys left without a value, because it was not known whether it was the one the origin has. */
  storesContestedTotal = 0
  /** Values written behind that a newer one replaced before the origin got them. */
  storesCoalescedTotal = 0
  /** Values written behind that the origin never got: given up after `retryFor`, or not flushed when this member left. */
  storesLostTotal = 0
  /** Writes refused because too many waited for the origin. */
  storesRefusedTotal = 0
  /** Loaded values larger than maxValueBytes: handed out, not kept. */
  valuesTooLargeTotal = 0
  /** Values evicted for room. */
  evictionsTotal = 0
  /** Values dropped because their time was over. */
  expirationsTotal = 0
  /** Marks of deleted keys given up before their time, because there were too many. */
  tombstonesEvictedTotal = 0
  /** Partitions of copies given up for want of room. */
  copiesGivenUpTotal = 0
  /** Answers to changes that were not told to whoever takes over their keys, because there were more than 4,096 to tell at once. */
  answersUntoldTotal = 0
  /** Floors folded into one for the whole cache, or for all that has tags in it, or forgotten, because there were too many. */
  floorsFoldedTotal = 0
  /** Records sent to backups, each once for each of them. */
  copiesSentTotal = 0
  /** Of those, how many a backup refused, because it had no room or another owner in its view. */
  copiesRefusedTotal = 0
  /** Changes that were made and that fewer backups had in time than their callers wait for. */
  backupsUnackedTotal = 0
  /** Questions of this member, new owner of a key, to those that held it before. */
  peeksTotal = 0
  /** Partitions in which a copy had to be made equal to its original. */
  repairsTotal = 0
  /** Records fetched by this member from others, as their new owner. */
  recordsPulledTotal = 0
  /** Records handed by this member to others, as new owners or backups. */
  recordsPushedTotal = 0
  /** Bytes of these records, both ways. */
  transferBytesTotal = 0
  /** Bytes of records sent to backups. */
  copiesBytesTotal = 0
  /** Questions to others that found something. */
  peeksFoundTotal = 0
  /** Partitions whose source was gone before it was fetched from. */
  sourcesLostTotal = 0
  /** Owners that did not say in time what they hold. */
  offersMissedTotal = 0
  /** Values written on two sides of a split that the `merge` of their cache was asked about. */
  mergesTotal = 0
  /** Of those, how many because it threw: the later value stayed. */
  mergesFailedTotal = 0
  /** Records given up because this member was kept apart for longer than deletes are remembered, or refused because they may be older than what was evicted here. */
  recordsOutdatedTotal = 0
  /** Records dropped because their partition moved to another member. */
  recordsMovedAwayTotal = 0
  /** Messages that this member's application has published to topics. */
  topicMessagesPublishedTotal = 0
  /** Of those, how many were dropped, because too many waited to be told. */
  topicMessagesDroppedTotal = 0
  /** Messages of topics that this member's listeners have heard, its own among them. */
  topicMessagesHeardTotal = 0
  /** Gossip of topics that came a second time, or too late to know whether it had, and was left unheard. */
  topicGossipRepeatedTotal = 0
  /** Gossip of topics from a publisher that this member does not know, or not any more, left unheard. */
  topicGossipStrayTotal = 0
  /** Events of caches that listeners were not told of, because too many happened in one turn. */
  cacheEventsDroppedTotal = 0
  /** Requests served for other members. */
  requestsServedTotal = 0
  /** Requests that met a member which does not own the key in its own view. */
  requestsMisroutedTotal = 0
  /** Requests refused because a queue was at its cap. */
  requestsOverloadedTotal = 0
  /** Requests that had no answer in time. */
  requestsTimedOutTotal = 0
  /** Frames sent; each may carry many calls. */
  framesSentTotal = 0
  /** Frames received. */
  framesReceivedTotal = 0
  /** Links closed because the peer sent bytes of the wrong shape, another mesh or another protocol. */
  linksRefusedTotal = 0
  /** Links closed because the peer had been silent too long. */
  linksSilentTotal = 0
  /** Exchanges of views begun with peers. */
  viewExchangesTotal = 0
  /** Exchanges that left both sides as they were, although they differ. */
  viewExchangesFutileTotal = 0
  /** Times that others suspected this member and it contradicted. */
  suspicionsRefutedTotal = 0
  /** Times that others took this member for dead and it contradicted. */
  deathsRefutedTotal = 0
  /** Failures of discovery; each is asked again. */
  discoveryFailuresTotal = 0
  /** Lines about messages of others kept out of the log, because the same was said of that member within a minute. */
  logLinesWithheldTotal = 0
}

/** What is so now. */
export interface Gauges {
  /** Members here, this one included. */
  readonly members: number
  /** Partitions whose keys this member decides for, of 16,384. */
  readonly partitionsOwned: number
  /** Of those, how many have a key that fewer members hold than its `backups` ask for: 0 and a member may be stopped. */
  readonly partitionsWithoutBackup: number
  /** Of those, how many are not here in full yet; what they lack is asked of others before the origin. */
  readonly partitionsWarming: number
  /** Records that are still to be fetched or handed over. */
  readonly transferPendingRecords: number
  /** 1 while this member has stood still and asks the others before it trusts its own view again. */
  readonly viewInDoubt: number
  /** 0 when this member's own event loop runs in time; each point is more patience with others. */
  readonly healthScore: number
  /** What the stored records take. */
  readonly memoryBytes: number
  /** What they may take. */
  readonly memoryLimitBytes: number
  /** What the filters of keys that exist take, beside the records. */
  readonly filterBytes: number
  /** Records stored here. */
  readonly records: number
  /** Near copies held here. */
  readonly nearEntries: number
  /** What they take, beside the memory of the records. */
  readonly nearBytes: number
  /** Keys of this member that are hot: so much is asked of them that their readers keep them near. */
  readonly hotKeys: number
  /** Loads under way for keys of this member. */
  readonly loadsInProgress: number
  /** Loader calls of this member that wait because loadConcurrency of their cache run in the mesh. */
  readonly loadsQueued: number
  /** Caches whose circuit breaker is not closed, as far as this member has been told. */
  readonly breakersOpen: number
  /** Keys whose latest value the origin does not have yet and this member is to store. */
  readonly storesPending: number
}
