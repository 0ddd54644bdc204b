import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { unlessAborted, whenAborted } from '../../../lib/base/abort.ts'

describe('whenAborted', () => {
  it('calls once, when the signal aborts or at once if it has', () => {
    const stop = new AbortController()
    let calls = 0
    whenAborted(stop.signal, () => calls++)
    expect(calls).toBe(0)
    stop.abort()
    stop.abort()
    expect(calls).toBe(1)
    whenAborted(stop.signal, () => calls++)
    expect(calls).toBe(2)
  })

  it('hangs one listener on a signal, and takes back single wishes', () => {
    const stop = new AbortController()
    const called: number[] = []
    const same = (): void => void called.push(99)
    const forgets = Array.from({ length: 20 }, (_, i) => whenAborted(stop.signal, () => called.push(i)))
    whenAborted(stop.signal, same)
    const forgetSame = whenAborted(stop.signal, same)
    expect(getEventListeners(stop.signal, 'abort')).toHaveLength(1)
    for (const forget of forgets.slice(1)) forget()
    forgetSame()
    forgetSame()
    stop.abort()
    expect(called).toEqual([0, 99])
  })
})

describe('unlessAborted', () => {
  it('is the work without a signal, and with one that never aborts', async () => {
    expect(await unlessAborted(undefined, async () => 1)).toBe(1)
    expect(await unlessAborted(new AbortController().signal, async () => 2)).toBe(2)
    const failing = unlessAborted(new AbortController().signal, async () => Promise.reject(new Error('no')))
    await expect(failing).rejects.toThrow('no')
  })

  it('rejects with the reason of the signal, and never begins what is aborted already', async () => {
    let began = false
    const work = async (): Promise<void> => {
      began = true
    }
    await expect(unlessAborted(AbortSignal.abort('why'), work)).rejects.toBe('why')
    expect(began).toBe(false)
    const stop = new AbortController()
    const running = unlessAborted(stop.signal, () => new Promise(() => {}))
    stop.abort('later')
    await expect(running).rejects.toBe('later')
  })

  it('does not let work that fails after the abort go unhandled', async () => {
    const stop = new AbortController()
    let fail = (_: Error): void => {}
    const running = unlessAborted(stop.signal, () => new Promise((_, reject) => (fail = reject)))
    stop.abort('why')
    await expect(running).rejects.toBe('why')
    fail(new Error('too late'))
    await new Promise(resolve => setImmediate(resolve))
  })
})
