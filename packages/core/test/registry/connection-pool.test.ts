import { describe, expect, test } from 'vitest'
import { ConnectionPool } from '../../src/registry/connection-pool.ts'
import { failureOf, Later } from '../support/outcome.ts'

class Connection {
  closed = 0

  async close(): Promise<void> {
    this.closed += 1
  }
}

describe('ConnectionPool', () => {
  test('opens once per key, also for callers that come while it is being opened', async () => {
    const pool = new ConnectionPool()
    const opening = new Later<Connection>()
    let opens = 0
    const open = (): Promise<Connection> => {
      opens += 1
      return opening.promise
    }
    const both = Promise.all([pool.share('a', open), pool.share('a', open)])
    opening.resolve(new Connection())
    const [one, two] = await both
    expect(opens).toBe(1)
    expect(one.connection).toBe(two.connection)
    expect(pool.size).toBe(1)
  })

  test('keeps keys apart', async () => {
    const pool = new ConnectionPool()
    const one = await pool.share('a', async () => new Connection())
    const two = await pool.share('b', async () => new Connection())
    expect(one.connection).not.toBe(two.connection)
    expect(pool.size).toBe(2)
  })

  test('closes when the last share is released, however often each is released', async () => {
    const pool = new ConnectionPool()
    const open = async (): Promise<Connection> => new Connection()
    const one = await pool.share('a', open)
    const two = await pool.share('a', open)
    await one.release()
    await one.release()
    expect(one.connection.closed).toBe(0)
    await two.release()
    await two.release()
    expect(two.connection.closed).toBe(1)
    expect(pool.size).toBe(0)
  })

  test('opens anew after the last release', async () => {
    const pool = new ConnectionPool()
    const open = async (): Promise<Connection> => new Connection()
    const first = await pool.share('a', open)
    await first.release()
    const second = await pool.share('a', open)
    expect(second.connection).not.toBe(first.connection)
    expect(second.connection.closed).toBe(0)
  })

  test('a share that comes while the last one is being released gets a connection that stays open', async () => {
    const pool = new ConnectionPool()
    const open = async (): Promise<Connection> => new Connection()
    const first = await pool.share('a', open)
    const [, second] = await Promise.all([first.release(), pool.share('a', open)])
    expect(second.connection.closed).toBe(0)
    expect(pool.size).toBe(1)
  })

  test('gives the error to all who wait, and tries anew for the next', async () => {
    const pool = new ConnectionPool()
    const refused = new Error('refused')
    const failing = (): Promise<Connection> => Promise.reject(refused)
    const errors = await Promise.all([
      failureOf(() => pool.share('a', failing)),
      failureOf(() => pool.share('a', failing)),
    ])
    expect(errors).toEqual([refused, refused])
    expect(pool.size).toBe(0)
    const share = await pool.share('a', async () => new Connection())
    await share.release()
    expect(share.connection.closed).toBe(1)
  })
})
