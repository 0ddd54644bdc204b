/** The machinery of the benchmark: a figure that is computed wrongly is worse than none. */
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { EchoClient, startEcho } from './echo.ts'
import { parseOptions, SECTIONS } from './options.ts'
import { jsonOf, tableOf } from './report.ts'
import { interleaved, median, quantile, ratioOf } from './rounds.ts'

describe('options of the benchmark', () => {
  it('are all sections and five rounds by default', () => {
    expect(parseOptions([])).toEqual({
      rounds: 5,
      sliceMs: 400,
      sections: SECTIONS,
      entries: 1_000_000,
      json: undefined
    })
  })

  it('choose sections, rounds and a file', () => {
    const options = parseOptions(['--only', 'set,get', '--rounds', '9', '--quick', '--json', 'out.json'])
    expect(options).toMatchObject({ rounds: 9, sections: ['get', 'set'], json: 'out.json', entries: 20_000 })
  })

  it.each([
    ['--fast'],
    ['--only', 'gets'],
    ['--rounds', '4'],
    ['--rounds', '5.5'],
    ['--rounds', 'many'],
    ['--json'],
    ['get']
  ])('that make no sense are refused with what is known: %s %s', (...args) => {
    expect(parseOptions(args)).toEqual({ problem: expect.stringMatching(/Known are --rounds N .* --json FILE\.$/) })
  })
})

describe('rounds', () => {
  it('run each contender once, and begin with another one each time', async () => {
    const order: string[] = []
    const results = await interleaved(['a', 'b', 'c'], 4, async name => order.push(name))
    expect(order.join('')).toBe('abcbcacababc')
    expect([...results]).toEqual([
      ['a', [1, 6, 8, 10]],
      ['b', [2, 4, 9, 11]],
      ['c', [3, 5, 7, 12]]
    ])
  })

  it('are summed up by the middle', () => {
    expect(median([5, 1, 100])).toBe(5)
    expect(median([4, 1, 100, 2])).toBe(3)
    expect(median([])).toBeNaN()
    expect(
      quantile(
        Float64Array.from({ length: 100 }, (_, i) => 100 - i),
        0.99
      )
    ).toBe(100)
    expect(quantile(Float64Array.of(3), 0.5)).toBe(3)
  })

  it('are compared one by one: a round that was slow for both changes nothing', () => {
    expect(ratioOf([10, 20, 1, 30, 40], [5, 10, 0.5, 15, 20])).toBe(2)
  })
})

describe('the report', () => {
  const rows = [
    { contender: 'ours', figures: { 'calls/s': [10, 30, 20] } },
    { contender: 'theirs', figures: { 'calls/s': [1_000, 3_000, 2_000] } }
  ]

  it('shows medians and the ratio', () => {
    expect(tableOf({ title: '1 caller', compared: 'calls/s', rows })).toBe(
      [
        '1 caller',
        '           calls/s   ours to it, calls/s',
        '  ours        20.0',
        '  theirs     2,000              0.0100 ×'
      ].join('\n')
    )
  })

  it('is told to programs with every round', () => {
    const cases = [{ title: '1 caller', compared: 'calls/s', rows }]
    const told = JSON.parse(jsonOf([{ section: 'get', about: 'a get', cases, notes: [] }], { rounds: 3 }))
    expect(told.rounds).toBe(3)
    expect(told.sections[0].cases[0].rows[1]).toEqual({
      contender: 'theirs',
      medians: { 'calls/s': 2_000 },
      ratio: 0.01,
      rounds: { 'calls/s': [1_000, 3_000, 2_000] }
    })
  })
})

describe('the TCP echo', () => {
  const closing: (() => void)[] = []
  afterEach(() => {
    for (const close of closing.splice(0)) close()
  })

  it('answers each call with the value, however many are asked at once', async () => {
    const { port, server } = await startEcho(1_024)
    closing.push(() => server.close())
    const client = await EchoClient.open(port)
    closing.push(() => client.close())
    const values = await Promise.all(Array.from({ length: 300 }, (_, i) => client.get(`product:${i}`)))
    expect(values).toHaveLength(300)
    expect(values.every(value => value.equals(Buffer.alloc(1_024, 7)))).toBe(true)
  })

  it('understands a request that comes byte by byte', async () => {
    const { port, server } = await startEcho(3)
    closing.push(() => server.close())
    const socket = connect(port, '127.0.0.1')
    closing.push(() => socket.destroy())
    const answer = new Promise<Buffer>(resolve => socket.once('data', resolve))
    for (const byte of [0, 0, 0, 9, 0, 0, 0, 1, 65]) {
      socket.write(Buffer.of(byte))
      await new Promise(resolve => setImmediate(resolve))
    }
    expect(await answer).toEqual(Buffer.from([0, 0, 0, 9, 0, 0, 0, 3, 7, 7, 7]))
  })
})
