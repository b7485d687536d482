import { createHash } from 'node:crypto'
import { serversAvailable, SetChecker, startRedis, Wire } from '@multinode/testbed'
import { describe, expect, it } from 'vitest'
import { publishLua } from '../src/publish.lua.ts'
import { node } from './node.ts'
import { allArrived, publisher, watch } from './traffic.ts'

const clusterName = 'shop'
const publishHash = createHash('sha1').update(publishLua).digest('hex')

describe.skipIf(!serversAvailable())('on the wire', () => {
  it('a publish is one EVALSHA, and a reader asks at most once for each signal', async () => {
    await using server = await startRedis()
    // Before anybody else: a client in MONITOR mode stumbles over what comes with its first answer.
    using wire = await Wire.tap(server)
    await using sender = await node(server.url, { clusterName })
    await using receiver = await node(server.url, { clusterName })
    const checker = new SetChecker()
    await watch(checker, sender)
    await watch(checker, receiver)
    const publish = publisher(checker, sender)
    // Until all that a start takes is done.
    await publish()
    await allArrived(checker, [sender])
    const count = 50
    const sent = await wire.during(async () => {
      for (let each = 0; each < count; each += 1) await publish()
      await allArrived(checker, [sender])
    })
    const names = sent.map(([name]) => name)
    expect(sent.filter(([, hash]) => hash === publishHash)).toHaveLength(count)
    expect(new Set(names)).toEqual(new Set(['evalsha', 'xread']))
    // Both nodes read. Nodes that came may be asked for, and a tick may fall into the time.
    expect(names.filter((name) => name === 'xread').length).toBeLessThanOrEqual(2 * (count + 2))
    expect(names.filter((name) => name === 'evalsha').length).toBeLessThanOrEqual(count + 4)
  })
})
