import type { NetworkInterfaceInfo } from 'node:os'
import { describe, expect, test } from 'vitest'
import {
  announced,
  announcedHosts,
  formatAddress,
  multiaddrText,
  parseAddress,
  parseListen
} from '../../lib/adapters/listen-address.ts'

test('listen: a port, a range, an IPv6 host', () => {
  expect(parseListen('127.0.0.1:0')).toEqual({ host: '127.0.0.1', portFrom: 0, portTo: 0 })
  expect(parseListen('0.0.0.0:7700-7731')).toEqual({ host: '0.0.0.0', portFrom: 7700, portTo: 7731 })
  expect(parseListen('[::1]:80')).toEqual({ host: '::1', portFrom: 80, portTo: 80 })
  for (const bad of [
    '',
    '7700',
    'host',
    'host:',
    'host:x',
    'host:7-6',
    'host:65536',
    'host:1-65536',
    '::1:80',
    '[x]:1'
  ])
    expect(() => parseListen(bad), bad).toThrow(expect.objectContaining({ code: 'ERR_MESH_LISTEN' }))
})

test('addresses are written the way they are read', () => {
  for (const address of ['127.0.0.1:1', '[::1]:65535', 'cache.internal:7700']) {
    const { host, port } = parseAddress(address)
    expect(formatAddress(host, port)).toBe(address)
  }
  expect(multiaddrText('::1', 1)).toBe('/ip6/::1/tcp/1')
  expect(multiaddrText('10.0.0.1', 1)).toBe('/ip4/10.0.0.1/tcp/1')
  expect(multiaddrText('cache.internal', 1)).toBe('/dns/cache.internal/tcp/1')
})

describe('what is announced', () => {
  const face = (address: string, internal = false) =>
    ({ address, internal, family: address.includes(':') ? 'IPv6' : 'IPv4' }) as NetworkInterfaceInfo
  const lo = [face('127.0.0.1', true), face('::1', true)]
  const faces = (...outward: string[]) => ({ lo, eth0: outward.map(address => face(address)) })
  const on = (listen: string, outward: ReturnType<typeof faces>, announce?: string[]) =>
    announced(announcedHosts(listen, announce, outward), 7700)

  test('an address is itself; a wildcard is the one routable address of the host', () => {
    expect(on('127.0.0.1', faces('10.0.0.5'))).toEqual(['127.0.0.1:7700'])
    expect(on('0.0.0.0', faces('10.0.0.5', 'fe80::1', '169.254.1.1', 'fd00::5'))).toEqual(['10.0.0.5:7700'])
    expect(on('::', faces('10.0.0.5', 'fe80::1', 'fd00::5'))).toEqual(['[fd00::5]:7700'])
    expect(on('::', faces('10.0.0.5', 'fe80::1'))).toEqual(['10.0.0.5:7700'])
  })

  test('several or none of them is an error that lists them and names the option', () => {
    expect(() => on('0.0.0.0', faces('10.0.0.5', '10.0.1.5'))).toThrow(/10\.0\.0\.5, 10\.0\.1\.5\. Set announce/)
    expect(() => on('0.0.0.0', faces())).toThrow(/no routable address\. Set announce/)
  })

  test('announce decides, with its port or the one listened on', () => {
    const given = ['10.0.0.5:9', '10.0.0.6', 'db.internal:0', '[fd00::1]', 'fd00::2']
    expect(on('0.0.0.0', faces(), given)).toEqual([
      '10.0.0.5:9',
      '10.0.0.6:7700',
      'db.internal:7700',
      '[fd00::1]:7700',
      '[fd00::2]:7700'
    ])
    for (const bad of ['', '0.0.0.0:1', '[::]:1', 'x:y', ':1'])
      expect(() => on('0.0.0.0', faces(), [bad]), bad).toThrow(expect.objectContaining({ code: 'ERR_MESH_LISTEN' }))
  })
})
