/**
 * The environment of a host that has just been set up: an empty home, the Node of this test run, one npm user
 * config. It is a list of what may pass, so no token or setting of whoever runs the tests gets through.
 */
import { delimiter, dirname } from 'node:path'
import { machineEnvironment } from './machine-environment.ts'

const network = ['HTTP_PROXY', 'HTTPS_PROXY', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR']
const passed = ['LANG', 'TMPDIR', ...network, ...network.map((name) => name.toLowerCase())]

/** `home` and `npmrc` are paths; npm and pnpm both obey NPM_CONFIG_USERCONFIG. */
export function bareEnvironment(home: string, npmrc: string): NodeJS.ProcessEnv {
  const machine = machineEnvironment()
  const direct = [machine['NO_PROXY'] ?? machine['no_proxy'], '127.0.0.1'].filter(Boolean).join(',')
  return {
    ...Object.fromEntries(Object.entries(machine).filter(([name]) => passed.includes(name))),
    PATH: [dirname(process.execPath), machine['PATH']].join(delimiter),
    HOME: home,
    NPM_CONFIG_USERCONFIG: npmrc,
    NO_PROXY: direct,
    no_proxy: direct,
  }
}
