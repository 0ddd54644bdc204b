import { describe, expect, it } from 'vitest'
import { Stats } from '../../../lib/observe/stats.ts'
import { CallFailed, type CallTerms, Client, type OpenCall } from '../../../lib/rpc/client.ts'
import { Outbox } from '../../../lib/rpc/outbox.ts'
import { ManualClock } from './manual-clock.ts'
import { ManualTransport } from './manual-transport.ts'

function setup() {
  const clock = new ManualClock()
  const transport = new ManualTransport()
  const stats = new Stats()
  const outbox = new Outbox({ transport, clock, stats, header: () => ({ clockMs: 1, viewHash: 0 }) })
  const client = new Client({ clock, outbox, stats })
  outbox.open('peer', { type: 'waiting' })
  const ask = (terms: CallTerms = { timeoutMs: 100 }) =>
    client.call('peer', { type: 'read', namespace: 'n', key: 'sk', mode: 'load', wish: 'usual' }, terms)
  return { clock, transport, stats, outbox, client, ask }
}

async function end(reply: Promise<unknown>): Promise<string> {
  return reply.then(
    value => (value as { type: string }).type,
    (error: CallFailed) => `${error.end}${error.sent ? ' sent' : ''}`
  )
}

describe('a call', () => {
  it('ends with its reply, and its deadline is disarmed', async () => {
    const { clock, client, ask } = setup()
    const call = ask()
    clock.endTurn()
    client.reply('peer', 1, { type: 'absent' })
    expect(await end(call.reply)).toBe('absent')
    clock.pass(100)
    expect(clock.armed).toBe(0)
  })

  it('ends at its deadline, and the other side is told to stop', async () => {
    const { clock, transport, stats, ask } = setup()
    const call = ask()
    clock.endTurn()
    clock.pass(100)
    clock.endTurn()
    expect(await end(call.reply)).toBe('timeout sent')
    expect(transport.kinds('data').at(-1)).toEqual(['cancel'])
    expect(stats.requestsTimedOutTotal).toBe(1)
  })

  it('gives an answer that lies unread a moment, when this process has stood still past the deadline', async () => {
    const { clock, client, ask } = setup()
    const [answered, silent] = [ask(), ask()]
    clock.endTurn()
    clock.standStill(2_500)
    client.reply('peer', 1, { type: 'absent' })
    expect(await end(answered.reply)).toBe('absent')
    clock.pass(500)
    expect(await end(silent.reply)).toBe('timeout sent')
  })

  it('waits for as long as a load may take once it hears that one runs', async () => {
    const { clock, client, ask } = setup()
    const call = ask({ timeoutMs: 100, loadMs: 1_000 })
    clock.endTurn()
    clock.pass(90)
    client.reply('peer', 1, { type: 'waiting' })
    clock.pass(1_050)
    client.reply('peer', 1, { type: 'absent' })
    expect(await end(call.reply)).toBe('absent')
  })

  it('does not wait for ever for a peer that only says it is loading', async () => {
    const { clock, client, ask } = setup()
    const call = ask({ timeoutMs: 100, loadMs: 1_000 })
    let ended = ''
    void end(call.reply).then(how => (ended = how))
    clock.endTurn()
    for (let i = 0; i < 1_000 && ended === ''; i++) {
      client.reply('peer', 1, { type: 'waiting' })
      clock.pass(500)
      await Promise.resolve()
      await Promise.resolve()
    }
    expect(ended).toBe('timeout sent')
  })

  it('ends when the link does, and says whether the peer can have seen it', async () => {
    const { clock, transport, client, outbox, ask } = setup()
    const seen = ask()
    clock.endTurn()
    transport.full.add('peer/data')
    const unseen = ask()
    clock.endTurn()
    outbox.close('peer')
    client.linkDown('peer')
    expect(await Promise.all([end(seen.reply), end(unseen.reply)])).toEqual(['lost sent', 'lost'])
    clock.pass(100)
    expect(clock.armed).toBe(0)
  })

  it('that another one cancels as their link is lost is not ended twice, nor the one begun in its place', () => {
    const { client, outbox } = setup()
    outbox.open('other', { type: 'waiting' })
    const request = { type: 'read', namespace: 'n', key: 'sk', mode: 'stored', wish: 'usual' } as const
    const ends: string[] = []
    const begin = (peer: string, name: string, onEnd = (): void => {}): OpenCall =>
      client.begin(peer, request, { timeoutMs: 100 }, end => {
        ends.push(`${name} ${end instanceof CallFailed ? end.end : end.type}`)
        onEnd()
      })
    const begun: OpenCall[] = []
    begin('peer', 'first', () => {
      client.cancel(second)
      // Around the ring until the place of the cancelled call is taken anew.
      while (begun.at(-1) === undefined || (begun.at(-1) as OpenCall).id % 256 !== second.id % 256) {
        const last = begun.at(-1)
        if (last !== undefined) client.cancel(last)
        begun.push(begin('other', 'in its place'))
      }
    })
    const second = begin('peer', 'second')
    outbox.close('peer')
    client.linkDown('peer')
    expect(ends).toEqual(['first lost'])
    client.reply('other', (begun.at(-1) as OpenCall).id, { type: 'absent' })
    expect(ends).toEqual(['first lost', 'in its place absent'])
  })

  it('that its caller has given up never settles, and its late reply hurts nobody', async () => {
    const { clock, transport, client, ask } = setup()
    const call = ask()
    let settled = false
    call.reply.then(
      () => (settled = true),
      () => (settled = true)
    )
    clock.endTurn()
    call.cancel()
    call.cancel()
    clock.endTurn()
    expect(transport.kinds('data').at(-1)).toEqual(['cancel'])
    client.reply('peer', 1, { type: 'absent' })
    client.reply('peer', 1, { type: 'waiting' })
    clock.pass(10_000)
    await new Promise(resolve => setImmediate(resolve))
    expect(settled).toBe(false)
    clock.pass(100)
    expect(clock.armed).toBe(0)
  })

  it('that was given up hands back a lease that comes too late: others wait for it', () => {
    const { clock, transport, client, ask } = setup()
    ask().cancel()
    client.reply('peer', 1, { type: 'lease', lease: 12, boot: 3, reason: 'miss', previous: undefined })
    clock.endTurn()
    expect(transport.kinds('data').flat()).toContain('release')
  })

  it('is answered by the peer it was asked of and by no other', async () => {
    const { clock, client, ask } = setup()
    const call = ask()
    clock.endTurn()
    client.reply('somebody else', 1, { type: 'notOwner' })
    client.reply('peer', 77, { type: 'notOwner' })
    client.reply('peer', 1, { type: 'absent' })
    expect(await end(call.reply)).toBe('absent')
  })

  it('is refused at once beyond the cap of calls to one peer, and taken again when one has ended', async () => {
    const { client, stats, ask } = setup()
    const calls = Array.from({ length: 16_384 }, () => ask())
    expect(await end(ask().reply)).toBe('overloaded')
    expect(stats.requestsOverloadedTotal).toBe(1)
    client.reply('peer', 1, { type: 'absent' })
    await calls[0]?.reply
    const next = ask()
    client.reply('peer', 16_386, { type: 'absent' })
    expect(await end(next.reply)).toBe('absent')
  })

  it('to a peer without a link fails at once', async () => {
    const { client } = setup()
    const call = client.call(
      'nobody',
      { type: 'read', namespace: 'n', key: 'k', mode: 'stored', wish: 'usual' },
      { timeoutMs: 100 }
    )
    await expect(call.reply).rejects.toBeInstanceOf(CallFailed)
  })

  it('knows whether it has left', () => {
    const { clock, client } = setup()
    const call = client.begin(
      'peer',
      { type: 'read', namespace: 'n', key: 'sk', mode: 'stored', wish: 'usual' },
      { timeoutMs: 100 },
      () => {}
    )
    expect(call.departure.sent).toBe(false)
    clock.endTurn()
    expect(call.departure.sent).toBe(true)
  })

  it('that is cancelled ends without a word, and its answer finds nobody', () => {
    const { clock, client, transport } = setup()
    const ends: unknown[] = []
    const call = client.begin(
      'peer',
      { type: 'read', namespace: 'n', key: 'sk', mode: 'stored', wish: 'usual' },
      { timeoutMs: 100 },
      end => ends.push(end)
    )
    client.cancel(call)
    client.cancel(call)
    client.reply('peer', call.id, { type: 'touched', existed: true })
    clock.endTurn()
    clock.pass(1_000)
    expect(ends).toEqual([])
    expect(transport.kinds('data').flat()).toEqual(['waiting', 'read', 'cancel'])
  })

  it('answered in parts ends with the last of them', async () => {
    const { clock, client } = setup()
    const parts: number[] = []
    const terms = { timeoutMs: 100, onPart: (part: { items: readonly unknown[] }) => parts.push(part.items.length) }
    const call = client.call('peer', { type: 'readMany', namespace: 'n', keys: ['sa', 'sb'] }, terms)
    clock.endTurn()
    client.reply('peer', 1, { type: 'found', last: false, items: [{ state: 'absent', bytes: new Uint8Array(0) }] })
    client.reply('peer', 1, { type: 'found', last: true, items: [] })
    expect(await call.reply).toEqual({ type: 'found', last: true, items: [] })
    expect(parts).toEqual([1])
  })

  it('that waits long takes its number from nobody: a hundred thousand others come and go', async () => {
    const { client } = setup()
    const ask = (onEnd: (end: unknown) => void) =>
      client.begin(
        'peer',
        { type: 'read', namespace: 'n', key: 'sk', mode: 'stored', wish: 'usual' },
        { timeoutMs: 100 },
        onEnd
      )
    const ends: unknown[] = []
    const long = ask(end => ends.push(end))
    for (let i = 0; i < 100_000; i++) {
      const call = ask(() => {})
      client.reply('peer', call.id, { type: 'touched', existed: false })
      expect(call.id).not.toBe(long.id)
    }
    client.reply('peer', long.id, { type: 'touched', existed: true })
    expect(ends).toEqual([{ type: 'touched', existed: true }])
  })
})

describe('a call that is to be answered at once', () => {
  function watched() {
    const { clock, client } = setup()
    const told: string[] = []
    const ends: string[] = []
    const ask = (name = 'call') =>
      client.begin(
        'peer',
        { type: 'read', namespace: 'n', key: 'sk', mode: 'load', wish: 'usual' },
        { timeoutMs: 2_000, loadMs: 10_000, onSlow: why => told.push(`${name} ${why} ${clock.nowMs - 1_000}`) },
        end => ends.push(`${end instanceof CallFailed ? end.end : end.type} ${clock.nowMs - 1_000}`)
      )
    return { clock, client, told, ends, ask }
  }

  it('is told to be slow once, and that nothing is heard; it goes on, and has the time it was given', () => {
    const { clock, client, told, ends, ask } = watched()
    ask()
    clock.endTurn()
    clock.pass(5_000)
    // Of one that has not been asked before, 10 ms are taken to be usual.
    expect(told).toEqual(['call slow 16', 'call silent 50'])
    expect(ends).toEqual(['timeout 2000'])
    expect(client.isSilent('peer')).toBe(true)
    client.heard('peer')
    expect(client.isSilent('peer')).toBe(false)
  })

  it('is told nothing when it is answered in time, nor when a load is known to run', () => {
    const { clock, client, told, ends, ask } = watched()
    const [answered, loading] = [ask('answered'), ask('loading')]
    clock.endTurn()
    clock.pass(10)
    client.heard('peer')
    client.reply('peer', answered.id, { type: 'absent' })
    client.reply('peer', loading.id, { type: 'waiting' })
    clock.pass(20_000)
    expect(told).toEqual([])
    expect(ends).toEqual(['absent 10', 'timeout 12010'])
  })

  it('is not taken for slow because this process stood still, but for one more moment', () => {
    const { clock, told, ask } = watched()
    ask()
    clock.endTurn()
    clock.standStill(100)
    expect(told).toEqual([])
    clock.pass(16)
    expect(told).toEqual(['call slow 116'])
  })

  it('tells all that wait when nothing is heard, those too that have been found slow', () => {
    const { clock, told, ask } = watched()
    ask('first')
    clock.endTurn()
    clock.pass(40)
    ask('second')
    clock.endTurn()
    clock.pass(10)
    expect(told).toEqual(['first slow 16', 'first silent 50', 'second silent 50'])
  })

  it('is not told of a silence when a load is known to run', () => {
    const { clock, client, told, ask } = watched()
    const loading = ask('loading')
    clock.endTurn()
    client.heard('peer')
    client.reply('peer', loading.id, { type: 'waiting' })
    ask('other')
    clock.endTurn()
    clock.pass(100)
    expect(told).toEqual(['other slow 16', 'other silent 50'])
  })

  it('learns nothing from a load, which takes its time', () => {
    const { clock, client, told, ask } = watched()
    for (let i = 0; i < 100; i++) {
      const { id } = ask()
      clock.endTurn()
      client.heard('peer')
      client.reply('peer', id, { type: 'waiting' })
      clock.pass(1_000)
      client.reply('peer', id, { type: 'absent' })
    }
    ask('last')
    clock.endTurn()
    clock.pass(20)
    expect(told).toEqual(['last slow 100016'])
  })

  it('learns how fast the peer is from its answers', () => {
    const { clock, client, told, ends, ask } = watched()
    for (let i = 0; i < 2_000; i++) {
      const { id } = ask()
      clock.endTurn()
      client.heard('peer')
      client.reply('peer', id, { type: 'absent' })
    }
    ask('last')
    clock.endTurn()
    clock.pass(20)
    expect([told, ends.length]).toEqual([['last slow 4'], 2_000])
  })
})
