import { connect } from 'amqplib'
import { describe, expect, it } from 'vitest'
import { readTls, type RabbitmqServer, serversAvailable, startRabbitmq } from '../src/index.ts'

function filesOf({ tls }: RabbitmqServer): { ca: string; cert: string; key: string } {
  if (!tls) throw new Error('started without tls')
  return readTls(tls)
}

async function reach(url: string, tls: { ca?: string; cert?: string; key?: string }): Promise<void> {
  const client = await connect(url, tls)
  await client.close()
}

describe.skipIf(!serversAvailable())('startRabbitmq with tls', { timeout: 180_000 }, () => {
  it('serves clients that know its authority, and no others', async () => {
    await using rabbitmq = await startRabbitmq({ tls: 'server' })
    expect(rabbitmq.url).toBe(`amqps://guest:guest@127.0.0.1:${rabbitmq.port}`)
    const { ca } = filesOf(rabbitmq)
    await reach(rabbitmq.url, { ca })
    await expect(reach(rabbitmq.url, {})).rejects.toThrow('self-signed certificate in certificate chain')
    await expect(connect(rabbitmq.url.replace('amqps', 'amqp'))).rejects.toThrow()
  })

  it('asks clients for a certificate when it is mutual', async () => {
    await using rabbitmq = await startRabbitmq({ tls: 'mutual' })
    const { ca, cert, key } = filesOf(rabbitmq)
    await reach(rabbitmq.url, { ca, cert, key })
    await expect(reach(rabbitmq.url, { ca })).rejects.toThrow()
  })
})
