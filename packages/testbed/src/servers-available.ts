/** False when the run leaves servers out on purpose: `describe.skipIf(!serversAvailable())`. */
export function serversAvailable(): boolean {
  return process.env['MULTINODE_TEST_SKIP_SERVERS'] !== '1'
}
