import { inspect } from 'node:util'
import { maskSecrets } from '@multinode/core'
import { describe, expect, it } from 'vitest'
import { checkRabbitmqOptions, type RabbitmqOptions } from '../src/index.ts'
import {
  formatTarget,
  readCodedSettings,
  type RabbitmqTarget,
  resolveTarget,
} from '../src/rabbitmq-target.ts'

const a = { host: 'a' }
const rotated = (): string => 'pw'

/** A row for each option of the table: how it is written, and what it becomes. */
const rows: readonly (readonly [options: RabbitmqOptions, target: Partial<RabbitmqTarget>])[] = [
  [
    a,
    { endpoints: [{ host: 'a', port: 5_672 }], vhost: '/', user: 'guest', password: 'guest', tls: undefined },
  ],
  [{ host: 'a:1' }, { endpoints: [{ host: 'a', port: 1 }] }],
  [
    { host: ['a:1', 'b', '[::1]:2'] },
    {
      endpoints: [
        { host: 'a', port: 1 },
        { host: 'b', port: 5_672 },
        { host: '::1', port: 2 },
      ],
    },
  ],
  [{ ...a, port: 7 }, { endpoints: [{ host: 'a', port: 7 }] }],
  [
    { ...a, user: 'ann', password: 'pw' },
    { user: 'ann', password: 'pw' },
  ],
  [{ ...a, user: 'ann', password: rotated }, { password: rotated }],
  [{ ...a, vhost: '/shop' }, { vhost: '/shop' }],
  [{ ...a, heartbeat: 10 }, { heartbeatSeconds: 10 }],
  [a, { heartbeatSeconds: 6, frameMaxBytes: 131_072, connectTimeoutMs: undefined }],
  [{ ...a, connectTimeout: 0.25 }, { connectTimeoutMs: 250 }],
  [{ ...a, connectionName: 'my shop' }, { connectionName: 'my shop' }],
  [{ ...a, frameMax: 8_192 }, { frameMaxBytes: 8_192 }],
  [
    { ...a, tls: true },
    { tls: {}, endpoints: [{ host: 'a', port: 5_671 }] },
  ],
  [{ ...a, tls: true, tlsServerName: 'mq.example' }, { tls: { servername: 'mq.example' } }],
]

const refused: readonly (readonly [why: string, options: RabbitmqOptions, reason: string])[] = [
  ['a number as a host', raw({ host: 5_672 }), 'host is 5672; it must be a host, host:port'],
  ['a port that is none', { ...a, port: 0 }, 'port is 0; it must be a whole number from 1 to 65535'],
  ['a user alone', { ...a, user: 'ann' }, 'user and password belong together'],
  [
    'a password that is none',
    { ...a, user: 'ann', ...raw({ password: 5 }) },
    'password is ***; it must be text or',
  ],
  ['half a heartbeat', { ...a, heartbeat: 0.5 }, 'heartbeat is 0.5; it must be a whole number of seconds'],
  [
    'a heartbeat of 1.5 s',
    { ...a, ...raw({ heartbeat: '1500ms' }) },
    'heartbeat is "1500ms"; it must be a whole',
  ],
  ['no time to connect', { ...a, connectTimeout: 0 }, 'connectTimeout is 0; it must be a number of seconds'],
  [
    'an unknown unit',
    { ...a, ...raw({ connect_timeout: '5m' }) },
    'connect_timeout is "5m"; it must be a number',
  ],
  [
    'a frame that is too small',
    { ...a, frameMax: 4_095 },
    'frameMax is 4095; it must be a whole number from 4096',
  ],
  ['a flag that is none', { ...a, ...raw({ tls: 'yes' }) }, 'tls is "yes"; it must be true or false'],
  [
    'a name of two lines',
    { ...a, connectionName: 'a\nb' },
    'connectionName is "a\\nb"; it must be text of up',
  ],
  ['both spellings', { ...a, frameMax: 8_192, frame_max: 8_192 }, '"frame_max" is given twice'],
  ['a certificate without TLS', { ...a, tlsCaFile: '/ca' }, 'tls_ca_file is for TLS: write amqps'],
  ['half a certificate', { ...a, tls: true, tlsCertFile: import.meta.filename }, 'belong together'],
  [
    'a file that is not there',
    { ...a, tls: true, tlsCaFile: '/no/ca' },
    'the file of tls_ca_file cannot be read',
  ],
  ['a host with a user', { host: 'ann@a:1' }, '"ann@a:1" is no host with a port'],
  ['two addresses', { url: 'amqp://a', urls: ['amqp://b'] }, 'url and urls are both given'],
  ['no addresses', { urls: [] }, 'urls must be a list of addresses'],
]

describe('options', () => {
  it.each(rows)('%j is understood', (options, target) => {
    expect(targetOf(options)).toMatchObject(target)
  })

  it.each(rows)('%j is understood in snake_case', (options, target) => {
    expect(targetOf(inSnakeCase(options))).toMatchObject(target)
  })

  it.each(rows.filter(([options]) => options.password !== rotated))(
    '%j is understood as parameters of an address',
    (options, target) => {
      const { host, ...others } = options
      for (const each of [others, inSnakeCase(others)]) {
        const parameters = new URLSearchParams(
          Object.entries(each).map(([name, value]): [string, string] => [name, String(value)]),
        )
        const url = `amqp://${[host].flat().join()}?${parameters.toString()}`
        expect(resolveTarget('test', {}, { url, source: 'X_URL' })).toMatchObject(target)
      }
    },
  )

  it.each(refused)('refuses %s', (_, options, reason) => {
    const check = (): unknown => checkRabbitmqOptions('rabbitmqThing', options)
    expect(check).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    expect(check).toThrow(reason)
    expect(check).toThrow(/^rabbitmqThing/)
  })

  it('refuses what it does not know, by name', () => {
    const check = (): unknown => checkRabbitmqOptions('rabbitmqThing', raw({ colour: 'red' }))
    expect(check).toThrow('rabbitmqThing has no option "colour"; it knows url, urls, host')
  })

  it('says whether it names a server, without the password', () => {
    const options = { host: 'a', user: 'ann', password: 'hunter2', vhost: 'shop' }
    expect(checkRabbitmqOptions('test', options)).toMatchObject({ url: 'amqp://ann:***@a:5672/shop' })
    expect(checkRabbitmqOptions('test', { heartbeat: 5 })).not.toHaveProperty('url')
    expect(checkRabbitmqOptions('test', { urls: ['amqp://a', 'amqp://b'] })).toMatchObject({
      url: 'amqp://a,amqp://b',
    })
  })

  it('takes a unit', () => {
    expect(targetOf({ ...a, ...raw({ connect_timeout: '500ms', heartbeat: '6000ms' }) })).toMatchObject({
      connectTimeoutMs: 500,
      heartbeatSeconds: 6,
    })
  })
})

describe('an address', () => {
  const read = (url: string): RabbitmqTarget => resolveTarget('test', {}, { url, source: 'RABBITMQ_URL' })

  it.each<readonly [string, string]>([
    ['amqp://a', 'amqp://guest:***@a:5672/'],
    ['amqp://a/', 'amqp://guest:***@a:5672/'],
    ['AMQPS://a', 'amqps://guest:***@a:5671/'],
    ['amqp://ann:p%40ss%2Fw@a:1/%2Fshop', 'amqp://ann:***@a:1/%2Fshop'],
    ['amqp://[::1]:7/shop', 'amqp://guest:***@[::1]:7/shop'],
    ['amqp://ann:pw@a,b:2/shop', 'amqp://ann:***@a:5672,b:2/shop'],
    ['amqp://ann:pw@a/shop,amqp://ann:pw@b:2/shop', 'amqp://ann:***@a:5672,b:2/shop'],
    ['amqp://a, amqp://b', 'amqp://guest:***@a:5672,b:5672/'],
    ['amqp://a?vhost=shop&user=ann&password=pw', 'amqp://ann:***@a:5672/shop'],
  ])('%s is understood', (url, target) => {
    expect(formatTarget(read(url))).toBe(target)
  })

  it('keeps what is escaped', () => {
    expect(read('amqp://a%3Ab:p%40s%25s@a/%2Fx%20y')).toMatchObject({
      user: 'a:b',
      password: 'p@s%s',
      vhost: '/x y',
    })
  })

  it.each<readonly [string, string]>([
    ['localhost:5672', 'the scheme localhost:// is not known'],
    ['nothing', 'it is not a URL'],
    ['redis://a', 'the scheme redis:// is not known'],
    ['amqp://', 'the host is missing'],
    ['amqp://a:0', 'there is no port 0'],
    ['amqp://a:99999', 'is no host with a port'],
    ['amqp://a/x/y', 'the vhost holds a /; write %2F'],
    ['amqp://ann:hunter2/x@a', 'that is not in its place'],
    ['amqp://ann:hunter2%@a', 'hold a % that is no escape'],
    ['amqp://a?colour=red', 'the parameter "colour" is not known'],
    ['amqp://a?heartbeat=soon', 'the parameter heartbeat is "soon"; it must be a whole number of seconds'],
    ['amqp://a/shop?vhost=other', 'vhost is given twice, as "shop" and as "other"'],
    ['amqp://ann:hunter2@a?password=hunter3', 'password is given twice, as *** and as ***'],
    ['amqp://ann:hunter2@a,amqp://ann:hunter3@b', 'password is given twice'],
    ['amqp://a/shop,amqp://b', 'vhost is in one of the addresses and not in the other'],
    ['amqp://a,amqps://b', 'tls is in one of the addresses and not in the other'],
    ['amqp://a?tls_ca_file=/ca', 'tls_ca_file is for TLS'],
  ])('%s is refused', (url, reason) => {
    const error = thrownBy(() => read(url))
    expect(error).toMatchObject({ code: 'MISCONFIGURED', details: { source: 'RABBITMQ_URL' } })
    expect(String(error)).toContain(`RABBITMQ_URL=${maskSecrets(url)} is no address of a RabbitMQ server`)
    expect(String(error)).toContain(reason)
    expect(inspect(error, { depth: 9 })).not.toContain('hunter')
  })

  it('is completed by options, and not contradicted', () => {
    const address = { url: 'amqp://a/shop', source: 'RABBITMQ_URL' }
    expect(resolveTarget('test', { heartbeat: 9 }, address)).toMatchObject({
      vhost: 'shop',
      heartbeatSeconds: 9,
    })
    expect(() => resolveTarget('test', { vhost: 'other' }, address)).toThrow('vhost is given twice')
  })
})

function targetOf(options: RabbitmqOptions): RabbitmqTarget {
  checkRabbitmqOptions('test', options)
  return resolveTarget('test', readCodedSettings('test', options), undefined)
}

function inSnakeCase(options: RabbitmqOptions): RabbitmqOptions {
  return Object.fromEntries(
    Object.entries(options).map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value,
    ]),
  )
}

/** What plain JavaScript may pass. */
function raw(options: Record<string, unknown>): RabbitmqOptions {
  return options
}

function thrownBy(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  return undefined
}
