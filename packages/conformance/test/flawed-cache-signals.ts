import type { PubSubPlugin } from '@multinode/core'
import type { CacheFlaw } from '../src/index.ts'

type PlugChange = (plugin: PubSubPlugin) => PubSubPlugin

/** Signals that are flawed, for the cases about what nodes tell each other. */
export const flawedSignals = {
  'signals-are-lost': (plugin) => ({
    ...plugin,
    create: async (context) => {
      const driver = await plugin.create(context)
      const publish: typeof driver.publish = async ({ signals }) => ({ accepted: signals.length })
      return Object.assign(driver, { publish })
    },
  }),
  'gaps-are-not-told': (plugin) => ({
    ...plugin,
    create: async (context) => {
      const driver = await plugin.create(context)
      const join = driver.join.bind(driver)
      const deaf: typeof driver.join = (receiver, metadata, timeoutMs) =>
        join(
          {
            receive: (signals) => receiver.receive(signals),
            members: (members) => receiver.members(members),
            isolated: (isIsolated) => receiver.isolated(isIsolated),
            hearing: (isHearing) => receiver.hearing(isHearing),
            gap: () => {},
          },
          metadata,
          timeoutMs,
        )
      return Object.assign(driver, { join: deaf })
    },
  }),
} satisfies Partial<Record<CacheFlaw, PlugChange>>

export type SignalFlaw = keyof typeof flawedSignals
