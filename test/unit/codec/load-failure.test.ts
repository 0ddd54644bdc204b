import { describe, expect, it } from 'vitest'
import { decodeFailure, encodeFailure, FAILURE_BYTES_MAX } from '../../../lib/codec/load-failure.ts'

function rebuilt(thrown: unknown) {
  return decodeFailure(encodeFailure(thrown))
}

class NotFound extends Error {
  override name = 'NotFound'
  status = 404
}

describe('a failure of a loader', () => {
  it('keeps name, message, code, status and plain fields', () => {
    const error = rebuilt(
      Object.assign(new NotFound('no product 42'), {
        code: 'E_NONE',
        detail: { table: 'products', ids: [1, '2', null] }
      })
    )
    expect(error).toBeInstanceOf(Error)
    expect(error.name).toBe('NotFound')
    expect(error.message).toBe('no product 42')
    expect({ ...error }).toEqual({ code: 'E_NONE', status: 404, detail: { table: 'products', ids: [1, '2', null] } })
    expect(String(error)).toBe('NotFound: no product 42')
  })

  it('is the same after a second journey', () => {
    const once = rebuilt(Object.assign(new NotFound('x'), { code: 7, cause: new Error('inner') }))
    const twice = decodeFailure(encodeFailure(once))
    expect(encodeFailure(twice)).toBe(encodeFailure(once))
  })

  it('keeps three causes', () => {
    const chain = [5, 4, 3, 2, 1, 0].reduce<Error | undefined>(
      (cause, n) => new Error(`level ${n}`, { cause }),
      undefined
    )
    const messages: string[] = []
    for (let error: unknown = rebuilt(chain); error instanceof Error; error = error.cause) messages.push(error.message)
    expect(messages).toEqual(['level 0', 'level 1', 'level 2', 'level 3'])
  })

  it('shows where the loader failed, not where the error was rebuilt', () => {
    function failingLoader(): Error {
      return new Error('deep')
    }
    expect(rebuilt(failingLoader()).stack).toContain('failingLoader')
    expect(rebuilt(failingLoader()).stack).not.toContain('decodeFailure')
    expect(rebuilt('text').stack).toBe('Error: text')
  })

  it.each([
    ['a string', 'no luck', 'no luck'],
    ['nothing', undefined, 'the loader threw undefined'],
    ['null', null, 'the loader threw null'],
    ['a number', 404, 'the loader threw 404'],
    ['a symbol', Symbol('x'), 'the loader threw a symbol'],
    ['an object', { message: 'plain' }, 'plain'],
    ['an empty object', {}, 'the loader threw an object without a message'],
    ['a function', () => 1, 'the loader threw a function']
  ])('tells %s that was thrown', (_, thrown, message) => {
    expect(rebuilt(thrown).message).toBe(message)
  })

  it('leaves out what may hold credentials, and what is no data', () => {
    const error = Object.assign(new Error('x'), {
      config: { auth: { password: 'hunter2' } },
      request: { headers: { authorization: 'hunter2' } },
      meta: { headers: { authorization: 'hunter2' }, ok: 1 },
      client: new NotFound('hunter2'),
      retry: () => 1
    })
    expect(encodeFailure(error)).not.toContain('hunter2')
    expect({ ...rebuilt(error) }).toEqual({ meta: { ok: 1 } })
  })

  it('survives getters that throw, proxies that refuse and circles', () => {
    const trap = new Error('trap')
    for (const name of ['stack', 'name', 'message', 'code', 'cause', 'extra'])
      Object.defineProperty(trap, name, {
        enumerable: true,
        get() {
          throw new Error('gotcha')
        }
      })
    expect(rebuilt(trap).message).toBe('the loader threw an object without a message')
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    expect(rebuilt(proxy).message).toContain('the loader')
    expect(rebuilt(Object.assign(new Error('x'), { proxy })).message).toBe('x')
    const circle = new Error('circle') as Error & { self?: unknown }
    circle.self = { circle }
    circle.cause = circle
    expect(rebuilt(circle).message).toBe('circle')
  })

  it('fits its bound whatever is thrown, and keeps the beginning of the message', () => {
    const wide = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`field${i}`, '€'.repeat(5000)]))
    const deep = { a: [wide, wide, [wide, { b: wide }]] }
    for (const text of ['x', '€', '😀', '\u0000', '"', '\ud800']) {
      const cause = Object.assign(new Error(text.repeat(50_000)), wide)
      const encoded = encodeFailure(Object.assign(new Error(text.repeat(50_000), { cause }), wide, deep))
      expect(Buffer.byteLength(encoded)).toBeLessThanOrEqual(FAILURE_BYTES_MAX)
      expect(decodeFailure(encoded).message.startsWith(text)).toBe(true)
    }
  })

  it('pollutes no prototype and hides no method', () => {
    const evil =
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":"x","ok":{"__proto__":{"polluted":1},"fine":1},"list":[{"constructor":1}]}'
    const error = decodeFailure(`{"name":"E","message":"m","fields":${evil},"code":{"__proto__":{"polluted":1}}}`)
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
    expect(error.polluted).toBeUndefined()
    expect(Object.getPrototypeOf(error)).toBe(Error.prototype)
    expect({ ...error }).toEqual({ ok: { fine: 1 }, list: [{}] })
    expect(Object.hasOwn(error.ok as object, '__proto__')).toBe(false)
    expect(`${error}`).toBe('E: m')
  })

  it.each([
    '',
    '}{',
    'null',
    '7',
    '"text"',
    '[]',
    '{}',
    '{"name":7,"message":[],"stack":{},"fields":3,"cause":"x","code":null}',
    '['.repeat(5000),
    `"${'x'.repeat(9000)}"`
  ])('makes an error of any text: %#', text => {
    const error = decodeFailure(text)
    expect(error).toBeInstanceOf(Error)
    expect(error.name).toBe('Error')
    expect(typeof error.message).toBe('string')
  })
})
