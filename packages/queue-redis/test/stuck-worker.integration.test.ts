import { type DuplicateOptions, RedisConnection } from '@multinode/connection-redis'
import { serversAvailable, startRedis, waitUntil } from '@multinode/testbed'
import { Redis } from 'ioredis'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { node } from './node.ts'

type Open = (this: RedisConnection, options?: DuplicateOptions) => Promise<RedisConnection>

/** What this client sends from now on waits for `isOver`. */
function hold(client: unknown, isOver: Promise<void>): void {
  if (!(client instanceof Redis)) throw new Error('one server')
  const send = client.sendCommand.bind(client)
  client.sendCommand = async (...args) => {
    await isOver
    return send(...args)
  }
}

describe.skipIf(!serversAvailable())('a worker that got no answer for so long that it is replaced', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  it('goes on when it gets a job for its last slot just then: no connection is left over, and nothing is reported', async () => {
    await using server = await startRedis()
    await server.cli('ACL', 'SETUSER', 'app', 'on', '>of-app', '~*', '&*', '+@all')
    const connections = async (): Promise<number> =>
      String(await server.cli('CLIENT', 'LIST')).match(/ user=app /g)?.length ?? 0
    await using one = await node(server.url.replace('//', '//app:of-app@'), { callTimeoutMs: 30_000 })
    let answer = (): void => {}
    const answered = new Promise<void>((resolve) => (answer = resolve))
    let end = (): void => {}
    const ended = new Promise<void>((resolve) => (end = resolve))
    const begun: number[] = []
    const open: Open = Reflect.get(RedisConnection.prototype, 'duplicate')
    let [asked, opened] = [0, 0]
    const inTurn: Open = async function (options) {
      asked += 1
      const isFirst = asked <= 2
      if (!isFirst) {
        answer()
        await waitUntil('the job', () => begun.length > 0)
      }
      const connection = await open.call(this, options)
      opened += 1
      if (isFirst) hold(connection.client, answered)
      return connection
    }
    vi.spyOn(RedisConnection.prototype, 'duplicate').mockImplementation(inTurn)
    const queue = one.queues.open<number>('jobs')
    await queue.addMany([{ payload: 1 }, { payload: 2 }])
    const handle = async ({ payload }: { readonly payload: number }): Promise<void> => {
      begun.push(payload)
      if (payload === 1) await ended
    }
    await queue.process(handle, { concurrency: 1, leaseMs: 60_000 })
    await waitUntil('its successor to be made', () => opened === 4)
    // That of the cluster object, that of those who add, and two of the worker.
    await waitUntil('its successor to be gone', async () => (await connections()) === 4)
    end()
    await waitUntil('the next job', () => begun.length > 1)
    expect(begun).toEqual([1, 2])
    expect(one.reported).toEqual([])
    expect(await connections()).toBe(4)
    await one.close()
    await waitUntil('all to be closed', async () => (await connections()) === 0)
  })
})
