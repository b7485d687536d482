import type { CapabilityDescription, ClusterDescription } from '@multinode/core'

/** What an operator wants to see at start: who serves what, where, and because of which variable. */
export function startReport(cluster: ClusterDescription, url: string, dataFolder: string): string {
  return [
    `Print shop, node ${cluster.nodeId} of cluster ${cluster.clusterName}`,
    ...cluster.capabilities.map((capability) => `  ${inWords(capability)}`),
    `  records and sheets are in ${dataFolder}`,
    `Listening on ${url}`,
    'Place an order:',
    `  curl ${url}/orders -H 'content-type: application/json' -d '{"customer":"Ada","item":"poster","quantity":2}'`,
    '',
  ].join('\n')
}

function inWords({ capability, backend, address, because, addressFrom }: CapabilityDescription): string {
  const place = address === null ? 'in this process' : `at ${address} (from ${String(addressFrom)})`
  return `${capability} is on ${backend} ${place}, because ${because}`
}
