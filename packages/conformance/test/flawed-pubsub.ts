import type {
  IncomingSignal,
  NodeIdentity,
  OutgoingSignal,
  PublishRequest,
  PubSubDriver,
  PubSubPlugin,
  SignalReceiver,
} from '@multinode/core'
import type { PubSubFlaw } from '../src/index.ts'

/** What a flaw changes of a driver that is otherwise right. */
type Break = (driver: PubSubDriver, node: NodeIdentity) => Partial<PubSubDriver>

/** A driver that tells something else than what is so. */
function telling(change: (receiver: SignalReceiver, node: NodeIdentity) => Partial<SignalReceiver>): Break {
  return (driver, node) => ({
    join: (receiver, metadata, timeoutMs) =>
      driver.join({ ...receiver, ...change(receiver, node) }, metadata, timeoutMs),
  })
}

/** A driver that hands on something else than what arrived. */
function receiving(
  change: (node: NodeIdentity) => (signals: readonly IncomingSignal[]) => readonly IncomingSignal[],
): Break {
  return telling((receiver, node) => {
    const changed = change(node)
    return { receive: (signals) => receiver.receive(changed(signals)) }
  })
}

/** A driver that hands on each signal in another way. */
function changing(change: (signal: IncomingSignal) => Partial<IncomingSignal>): Break {
  return receiving(() => (signals) => signals.map((signal) => ({ ...signal, ...change(signal) })))
}

/** A driver that is asked for something else than the caller said. */
function askedFor(change: (request: PublishRequest) => Partial<PublishRequest>): Break {
  return (driver) => ({
    publish: (request, timeoutMs) => driver.publish({ ...request, ...change(request) }, timeoutMs),
  })
}

/** Whether it was sent before, which it is from now on. */
function seenBefore(): (lane: number, signal: OutgoingSignal) => boolean {
  const seen = new Set<string>()
  return (lane, { sequence }) => {
    const name = `${lane} ${sequence}`
    const isKnown = seen.has(name)
    seen.add(name)
    return isKnown
  }
}

/** What all nodes of a cluster share, by its name. */
function shared<T>(create: () => T): (node: NodeIdentity) => T {
  const all = new Map<string, T>()
  return ({ clusterName }) => {
    const found = all.get(clusterName) ?? create()
    all.set(clusterName, found)
    return found
  }
}

const historyOf = shared((): IncomingSignal[] => [])
const numberOf = shared(() => ({ last: 0 }))

const failure = { error: new Error('refused'), isFinal: false }

/** One way to break a driver for each case of the suite; the smallest change that the case must notice. */
const breaks: Readonly<Record<PubSubFlaw, Break>> = {
  'joins-too-early': receiving(() => {
    let isEarly = true
    return (signals) => {
      const rest = signals.slice(isEarly ? 1 : 0)
      isEarly = false
      return rest
    }
  }),
  'begins-at-the-beginning': (driver, node) => ({
    join: async (receiver, metadata, timeoutMs) => {
      await driver.join(receiver, metadata, timeoutMs)
      await receiver.receive(historyOf(node))
    },
    publish: (request, timeoutMs) => {
      const { lane, signals } = request
      historyOf(node).push(...signals.map((signal) => ({ ...signal, lane, source: node.incarnation })))
      return driver.publish(request, timeoutMs)
    },
  }),
  'skips-its-own': receiving(
    (node) => (signals) => signals.filter(({ source }) => source !== node.incarnation),
  ),
  'swaps-neighbours': receiving(() => (signals) => signals.toReversed()),
  'orders-differ': receiving((node) => (signals) => [
    ...signals.filter(({ source }) => source === node.incarnation),
    ...signals.filter(({ source }) => source !== node.incarnation),
  ]),
  'does-not-wait': telling((receiver) => ({
    receive: async (signals) => {
      void receiver.receive(signals)
    },
  })),
  'data-is-text': changing(({ data }) => ({
    data: new TextEncoder().encode(new TextDecoder().decode(data)),
  })),
  'topic-is-changed': changing(({ topic }) => ({ topic: topic.replaceAll('.', '/') })),
  'long-data-is-cut': changing(({ data }) => ({ data: data.subarray(0, 60_000) })),
  'leaves-out-other-versions': receiving(() => (signals) => signals.filter(({ data }) => data[0] === 1)),
  'appends-repeats': (driver, node) => {
    const isKnown = seenBefore()
    return askedFor(({ lane, signals }) => ({
      signals: signals.map((signal) => (isKnown(lane, signal) ? { ...signal, sequence: 0 } : signal)),
    }))(driver, node)
  },
  'refuses-repeats': (driver) => {
    const isKnown = seenBefore()
    return {
      publish: async (request, timeoutMs) => {
        const known = request.signals.filter((signal) => isKnown(request.lane, signal))
        return known.length > 0 ? { accepted: 0, failure } : driver.publish(request, timeoutMs)
      },
    }
  },
  'accepts-out-of-turn': askedFor(({ signals, firstUnaccepted }) => ({
    firstUnaccepted: signals[0]?.sequence ?? firstUnaccepted,
  })),
  'waits-for-what-was-given-up': askedFor(() => ({ firstUnaccepted: 1 })),
  'numbers-are-shared': (driver, node) => ({
    publish: async (request, timeoutMs) => {
      const number = numberOf(node)
      const fresh = request.signals.filter(({ sequence }) => sequence === 0 || sequence > number.last)
      number.last = Math.max(number.last, ...request.signals.map(({ sequence }) => sequence))
      await driver.publish({ ...request, signals: fresh }, timeoutMs)
      return { accepted: request.signals.length }
    },
  }),
  'suppresses-transient-ones': (driver, node) => {
    const isKnown = seenBefore()
    return askedFor(({ lane, signals }) => ({
      signals: signals.filter((signal) => !isKnown(lane, signal) || signal.sequence > 0),
    }))(driver, node)
  },
  'lanes-are-one': askedFor(() => ({ lane: 0 })),
  'sees-itself-only': telling((receiver, node) => ({
    members: (members) =>
      receiver.members(members.filter(({ incarnation }) => incarnation === node.incarnation)),
  })),
  'forgets-metadata': (driver) => ({
    join: (receiver, _, timeoutMs) => driver.join(receiver, {}, timeoutMs),
  }),
  'one-node-a-name': telling((receiver) => ({
    members: (members) =>
      receiver.members([...new Map(members.map((member) => [member.nodeId, member])).values()]),
  })),
  'leaves-in-silence': () => ({ leave: async () => {} }),
  'reads-after-leaving': (driver) => {
    let known: SignalReceiver | undefined
    return {
      join: async (receiver, metadata, timeoutMs) => {
        known = receiver
        await driver.join(receiver, metadata, timeoutMs)
      },
      leave: async (timeoutMs) => {
        await driver.leave(timeoutMs)
        if (known !== undefined) await driver.join(known, {}, timeoutMs)
      },
    }
  },
  'leave-needs-join': (driver) => {
    let isMember = false
    return {
      join: async (receiver, metadata, timeoutMs) => {
        await driver.join(receiver, metadata, timeoutMs)
        isMember = true
      },
      leave: async (timeoutMs) => {
        if (!isMember) throw new Error('not a member')
        isMember = false
        await driver.leave(timeoutMs)
      },
    }
  },
  'stays-open': () => ({ close: async () => {} }),
  'close-twice-rejects': (driver) => {
    let isClosed = false
    return {
      close: async () => {
        if (isClosed) throw new Error('closed already')
        isClosed = true
        await driver.close()
      },
    }
  },
  'deadline-is-ignored': (driver) => ({ publish: (request) => driver.publish(request, 20_000) }),
  'ping-always-succeeds': () => ({ ping: async () => {} }),
  'claims-what-failed': (driver) => ({
    publish: async (request, timeoutMs) => {
      await driver.publish(request, timeoutMs)
      return { accepted: request.signals.length }
    },
  }),
  'loses-in-silence': receiving(() => {
    let count = 0
    return (signals) => signals.filter(() => (count += 1) % 7 !== 0)
  }),
  'gap-is-not-told': telling(() => ({ gap: () => {} })),
  'is-deaf-after-a-gap': telling((receiver) => {
    let isDeaf = false
    return {
      gap: (gap) => {
        isDeaf = true
        receiver.gap(gap)
      },
      receive: async (signals) => {
        if (!isDeaf) await receiver.receive(signals)
      },
    }
  }),
}

/** The same plugin, with one flaw. */
export function withFlaw(plugin: PubSubPlugin, flaw: PubSubFlaw): PubSubPlugin {
  return {
    ...plugin,
    async create(context) {
      const driver = await plugin.create(context)
      return { ...driver, ...breaks[flaw](driver, context.node) }
    },
  }
}
