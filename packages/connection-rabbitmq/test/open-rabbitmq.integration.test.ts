import { inspect } from 'node:util'
import { pluginContext } from '@multinode/core/testing'
import { type RabbitmqServer, serversAvailable, startRabbitmq, stolenMs } from '@multinode/testbed'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openRabbitmq, type RabbitmqOptions } from '../src/index.ts'
import { callMs, openWith } from './open-with.ts'
import { settled } from './settled.ts'

const secret = 'hunter2'

describe.skipIf(!serversAvailable())('opening a connection', () => {
  let plain: RabbitmqServer
  let tls: RabbitmqServer
  let mutual: RabbitmqServer

  beforeAll(async () => {
    ;[plain, tls, mutual] = await Promise.all([
      startRabbitmq({ users: [{ name: 'ann', password: secret, vhosts: { '/': {} } }] }),
      startRabbitmq({ tls: 'server' }),
      startRabbitmq({ tls: 'mutual' }),
    ])
  })
  afterAll(() => Promise.all([plain, tls, mutual].map((server) => server.stop())))

  async function refusal(options: RabbitmqOptions): Promise<{ error: unknown; ms: number }> {
    const context = pluginContext({ connectTimeoutMs: 10_000, callTimeoutMs: 3_000 })
    const { error, ms } = await settled(openRabbitmq(options, context))
    expect(context.connections.size).toBe(0)
    return { error, ms }
  }

  it('pings', async () => {
    await using opened = await openWith({ url: plain.url })
    await opened.connection.ping(callMs)
    expect(opened.connection.state).toMatchObject({ status: 'up', reason: undefined })
    expect(opened.reports).toEqual([])
  })

  it('speaks TLS, with a certificate of ours where one is wanted', async () => {
    const { ca = '', cert = '', key = '' } = { ...mutual.tls }
    await using one = await openWith({ url: tls.url, tlsCaFile: tls.tls?.ca ?? '' })
    await using both = await openWith({
      url: mutual.url,
      tls_ca_file: ca,
      tls_cert_file: cert,
      tls_key_file: key,
    })
    await Promise.all([one.connection.ping(callMs), both.connection.ping(callMs)])
    expect(one.connection.address).toMatch(/^amqps:/)
  })

  it('is called as the settings say, or by the node', async () => {
    await using named = await openWith({ url: plain.url, connectionName: 'my shop' })
    await using unnamed = await openWith({ url: plain.url })
    await Promise.all([named.connection.ping(callMs), unnamed.connection.ping(callMs)])
    const names = await plain.evaluate(`[element(3, lists:keyfind(<<"connection_name">>, 1,
      proplists:get_value(client_properties, Each))) || Each <- rabbit_networking:connection_info_all([client_properties])]`)
    for (const name of ['my shop', unnamed.nodeId]) {
      expect(names).toContain(`${name} (consuming)`)
      expect(names).toContain(`${name} (publishing)`)
    }
  })

  it('rejects in time when nobody is there, with the reason', async () => {
    const context = pluginContext({ connectTimeoutMs: 1_500, callTimeoutMs: 500 })
    const { error, ms } = await settled(openRabbitmq({ url: 'amqp://127.0.0.1:1' }, context))
    expect(error).toMatchObject({ code: 'UNAVAILABLE' })
    expect(String(error)).toContain('was not reached within 1500 ms: connect ECONNREFUSED')
    expect(ms).toBeLessThan(3_000 + stolenMs())
  })

  it.each<readonly [string, () => RabbitmqOptions, string]>([
    [
      'a wrong password',
      () => ({ host: `127.0.0.1:${plain.port}`, user: 'ann', password: `${secret}x` }),
      'User or password are wrong',
    ],
    [
      'a vhost that is not there',
      () => ({ url: `${plain.url}/nowhere` }),
      'refuses the vhost. The vhost is not there',
    ],
    ['a vhost that is not ours', () => ({ url: plain.urlOf('ann', 'other') }), 'refuses the vhost'],
    [
      'TLS on a plain port',
      () => ({ url: plain.url.replace('amqp:', 'amqps:') }),
      'write amqp instead of amqps',
    ],
    [
      'no TLS on a TLS port',
      () => ({ url: tls.url.replace('amqps:', 'amqp:') }),
      'write amqps instead of amqp',
    ],
    ['an authority that is not known', () => ({ url: tls.url }), 'give the file of its authority'],
    [
      'no certificate where one is wanted',
      () => ({ url: mutual.url, tlsCaFile: mutual.tls?.ca ?? '' }),
      'give one with tls_cert_file',
    ],
  ])('refuses %s at once', async (_, options, advice) => {
    const { error, ms } = await refusal(options())
    expect(error).toMatchObject({ code: 'MISCONFIGURED', backend: 'rabbitmq', outcome: 'not-sent' })
    expect(String(error)).toContain(advice)
    expect(inspect(error, { depth: 9 })).not.toContain(secret)
    expect(ms).toBeLessThan(5_000 + stolenMs())
  })
})
