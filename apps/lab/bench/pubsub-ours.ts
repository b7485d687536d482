import { PubSub, type PubSubPlugin } from '@multinode/core'
import { capabilityContext, pluginContext } from '@multinode/core/testing'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JoinParty, Mark } from './pubsub-party.ts'

export const topic = 'bench.mark'
const clusterName = 'bench'

type ToPlugin = (url: string) => PubSubPlugin

/** The portable type on an adapter, as one node; without a cluster object around it, whose health checks are commands, too. */
async function open(toPlugin: ToPlugin, url: string): Promise<AsyncDisposable & { readonly pubsub: PubSub }> {
  const plugin = toPlugin(url)
  const context = pluginContext({ clusterName })
  const driver = await plugin.create(context)
  const pubsub = new PubSub(driver, {
    ...capabilityContext('pubsub', plugin.backend, { clusterName }),
    node: context.node,
  })
  return {
    pubsub,
    async [Symbol.asyncDispose]() {
      await pubsub.close()
      await driver.close()
    },
  }
}

export function joinOn(toPlugin: ToPlugin): JoinParty {
  return async (url, hear) => {
    const ours = await open(toPlugin, url)
    const { pubsub } = ours
    const channel = pubsub.channel<Mark>(topic, { schema: { '~standard': { version: 1, validate: asMark } } })
    await channel.subscribe(({ payload }) => hear(payload), { onGap: fail })
    return {
      publish: async (mark) => {
        const { status } = await pubsub.publish(topic, mark)
        if (status !== 'sent') throw new Error(`a signal was ${status}`)
      },
      [Symbol.asyncDispose]: () => ours[Symbol.asyncDispose](),
    }
  }
}

/** With another subscription, whose handler takes 100 ms for each mark. */
export function joinBesideSlow(toPlugin: ToPlugin): JoinParty {
  return async (url, hear) => {
    const ours = await open(toPlugin, url)
    await ours.pubsub.subscribe('#', () => sleep(100), { onGap: 'ignore' })
    await ours.pubsub.subscribe(topic, ({ payload }) => hear(readMark(payload)), { onGap: fail })
    return {
      publish: (mark) => ours.pubsub.publish(topic, mark),
      [Symbol.asyncDispose]: () => ours[Symbol.asyncDispose](),
    }
  }
}

const asMark = (value: unknown): { readonly value: Mark } => ({ value: readMark(value) })

export function readMark(value: unknown): Mark {
  if (typeof value === 'object' && value !== null && 'sentAtMs' in value && 'from' in value)
    return { from: String(value.from), sentAtMs: Number(value.sentAtMs), padding: '' }
  throw new TypeError('something else was heard than what was published')
}

function fail(): never {
  throw new Error('there was a gap, though nothing was broken')
}
