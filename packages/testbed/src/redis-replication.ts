import type { RedisServer } from './redis-server.ts'

/** Whether it is a replica that is in step with the master on that port; by its own account. */
export async function isLinkedTo(replica: RedisServer, masterPort: number): Promise<boolean> {
  const [role, , port, link] = await roleOf(replica)
  return role === 'slave' && port === String(masterPort) && link === 'connected'
}

export async function isMaster(server: RedisServer): Promise<boolean> {
  return (await roleOf(server))[0] === 'master'
}

async function roleOf(server: RedisServer): Promise<readonly string[]> {
  const reply = await server.cli('ROLE')
  return Array.isArray(reply) ? reply.map(String) : []
}
