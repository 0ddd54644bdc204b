/**
 * What a writer was told of its change, in the form in which it goes along with the record to those who keep copies: so
 * that whoever is primary next knows what has been made, and says the same again.
 */
import type { PeerId } from '../ports/transport.ts'
import type { Once, Reply } from '../rpc/messages.ts'
import type { Answered } from '../rpc/replica-talk.ts'

type Given = Answered & {}

/** Undefined for what has changed nothing. */
export function answeredBy(peer: PeerId, once: Once, partition: number, reply: Reply): Given | undefined {
  const { boot, number, openFrom, untilMs } = once
  const about = {
    partition,
    peer,
    boot,
    number,
    openFrom,
    untilMs,
    stamp: 0,
    writer: '',
    existed: true,
    value: 0,
    expiresAtMs: 0
  }
  switch (reply.type) {
    case 'written':
      return { ...about, reply: 'written', stamp: reply.stamp, writer: reply.writer }
    case 'removed':
      return { ...about, reply: 'removed', stamp: reply.stamp, writer: reply.writer, existed: reply.existed }
    case 'compared':
      return reply.done ? { ...about, reply: 'compared', stamp: reply.stamp, writer: reply.writer } : undefined
    case 'added':
      return reply.done ? { ...about, reply: 'added', value: reply.value, expiresAtMs: reply.expiresAtMs } : undefined
    case 'touched':
      return reply.existed ? { ...about, reply: 'touched' } : undefined
    default:
      return undefined
  }
}

/** It has been answered, and its writer waits for it no more: what that was is not known any more. */
export function settledAnswer(peer: PeerId, boot: number, number: number): Given {
  const once = { boot, number, openFrom: number, untilMs: 0 }
  const nothing = { partition: 0, stamp: 0, writer: '', existed: false, value: 0, expiresAtMs: 0 }
  return { ...nothing, ...once, peer, reply: 'forgotten' }
}

/** What is stored behind is left to whoever is asked anew: `taken` was said by somebody else. */
export function replyOf({ reply, stamp, writer, existed, value, expiresAtMs }: Given): Reply {
  switch (reply) {
    case 'written':
      return { type: 'written', stamp, writer, taken: false }
    case 'removed':
      return { type: 'removed', existed, stamp, writer, taken: false }
    case 'compared':
      return { type: 'compared', done: true, stamp, writer, taken: false }
    case 'added':
      return { type: 'added', done: true, value, expiresAtMs }
    case 'touched':
      return { type: 'touched', existed: true }
    case 'forgotten':
      return { type: 'forgotten' }
  }
}
