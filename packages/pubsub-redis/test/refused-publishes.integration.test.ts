import {
  faultless,
  type RedisServer,
  serversAvailable,
  SetChecker,
  startRedis,
  waitUntil,
} from '@multinode/testbed'
import { isMultinodeError } from '@multinode/core'
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { publishLua } from '../src/publish.lua.ts'
import { failUnlessAway, node } from './node.ts'
import { Relay } from './relay.ts'
import { allArrived, publisher, watch } from './traffic.ts'

const publishHash = createHash('sha1').update(publishLua).digest('hex')
const clusterName = 'shop'
const count = 20
const users = [{ name: 'app', password: 'of-app', rules: '~* &* +@all' }]

interface Fault {
  readonly what: string
  /** What becomes of the tenth. */
  readonly fate: 'buffered' | 'failed'
  /** Whether a script was refused that ran already. */
  readonly hasBegun: boolean
  readonly begin: (server: RedisServer) => Promise<unknown>
  readonly end: (server: RedisServer) => Promise<unknown>
  /** How many commands it has hit. */
  readonly hits: (server: RedisServer) => Promise<number>
}

const oom: Fault = {
  what: 'because the memory is full',
  fate: 'buffered',
  hasBegun: false,
  begin: (server) => server.cli('CONFIG', 'SET', 'maxmemory', '1'),
  end: (server) => server.cli('CONFIG', 'SET', 'maxmemory', '0'),
  async hits(server) {
    const info = String(await server.cli('INFO', 'errorstats'))
    return Number(/errorstat_OOM:count=(\d+)/.exec(info)?.[1] ?? 0)
  },
}

function withoutRight(command: string, what: string): Fault {
  return {
    what,
    fate: 'failed',
    hasBegun: command !== 'evalsha',
    begin: (server) => server.cli('ACL', 'SETUSER', 'app', `-${command}`),
    end: (server) => server.cli('ACL', 'SETUSER', 'app', `+${command}`),
    async hits(server) {
      const entries = await server.cli('ACL', 'LOG')
      return Array.isArray(entries) ? entries.length : 0
    },
  }
}

/** Its reader, which begins at the same time, may be refused, too. */
function failUnlessRefused(error: unknown): void {
  if (!isMultinodeError(error) || error.code !== 'MISCONFIGURED') failUnlessAway(error)
}

const faults: readonly Fault[] = [
  oom,
  withoutRight('evalsha', 'because scripts are forbidden'),
  withoutRight('xadd', 'in the middle of its script'),
]

describe.skipIf(!serversAvailable()).concurrent.each(faults)(
  'when the 10th of 20 in one pipeline is refused $what',
  ({ fate, hasBegun, begin, end, hits }) => {
    it('no signal is lost but this one, if its publisher was told, and all are in order and once', async () => {
      await using server = await startRedis({ users })
      await using relay = await Relay.start(server.urlOf('app'))
      await using sender = await node(relay.url, {
        clusterName,
        report: failUnlessRefused,
        // The first ones wait for their answers until the fault is over.
        callTimeoutMs: 10_000,
      })
      await using receiver = await node(server.url, { clusterName })
      const checker = new SetChecker()
      const { gaps } = await watch(checker, receiver)
      const publish = publisher(checker, sender)
      await publish()
      const passed = relay.stopAt({
        text: publishHash,
        nth: 10,
        before: () => begin(server),
        async after() {
          await waitUntil('the refusal', async () => (await hits(server)) > 0)
          await end(server)
        },
      })
      await Promise.all(Array.from({ length: count }, publish))
      await passed
      // A tick of the receiver may be refused, too.
      expect(await hits(server), 'the control: one was refused').toBeGreaterThan(0)
      expect(checker.count(fate)).toBe(fate === 'failed' ? 1 : 11)
      await Promise.all(Array.from({ length: count }, publish))
      const [finding] = await allArrived(checker, [sender])
      expect(finding).toMatchObject(faultless)
      // It may have been accepted before it was refused: then nobody knows, and all are told.
      const seen = hasBegun ? finding?.seen : 1 + 2 * count - checker.count('failed')
      expect(finding).toMatchObject({ seen, gaps: hasBegun ? 1 : 0 })
      expect(gaps).toHaveLength(hasBegun ? 1 : 0)
    })
  },
)
