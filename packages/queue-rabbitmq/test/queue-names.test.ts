import { describe, expect, it } from 'vitest'
import { ClusterNames } from '../src/queue-names.ts'

const cluster = new ClusterNames('shop')

describe('names at the server', () => {
  it('are readable where they can be', () => {
    expect(cluster.queue('mails')).toMatchObject({
      key: { normal: 'mails' },
      work: { high: 'shop.queue.mails+high', normal: 'shop.queue.mails', low: 'shop.queue.mails+low' },
      dead: 'shop.dead.mails',
    })
    expect(cluster.queue('a.b c').work.normal).toBe('shop.queue.a%2Eb%20c')
    expect([cluster.delay(0), cluster.delay(27)]).toEqual(['shop.delay.00', 'shop.delay.27'])
  })

  it('differ where the queues do, also those of other clusters, and are short enough', () => {
    const long = 'ä'.repeat(1_023)
    const queues = [
      'b',
      'B',
      'a.b',
      'a%2Eb',
      '*',
      '#',
      '+high',
      'b+high',
      '~',
      `${long}a`,
      `${long}b`,
      'x'.repeat(1_024),
    ]
    const clusters = ['s'.repeat(64), 'a', 'a.queue', 'a.dead', 'a.delay']
    const names = clusters.flatMap((name) =>
      queues.flatMap((queue) => {
        const { work, dead } = new ClusterNames(name).queue(queue)
        return [...Object.values(work), dead]
      }),
    )
    expect(new Set(names).size).toBe(names.length)
    for (const name of names) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255)
  })

  it('are one word each, which no pattern takes for another', () => {
    for (const name of ['a.b', '*', '#', '*.b', 'a b', '漢', '\u{1F512}']) {
      expect(cluster.queue(name).key.normal).toMatch(/^[A-Za-z0-9_%-]+$/)
    }
  })
})
