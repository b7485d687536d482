import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type ClaimedPort, claimPort, type TcpProxy, tcpProxy, waitUntil } from '../src/index.ts'

let target: ClaimedPort
let proxy: TcpProxy
let serverSockets: Socket[]
const server = createServer({ allowHalfOpen: true }, (socket) => {
  serverSockets.push(socket)
  socket.on('error', () => {})
  socket.pipe(socket)
})

beforeEach(async () => {
  serverSockets = []
  target = await claimPort()
  await once(server.listen(target.port, '127.0.0.1'), 'listening')
  proxy = await tcpProxy(target.port)
})

afterEach(async () => {
  await proxy.close()
  for (const socket of serverSockets) socket.destroy()
  server.close()
  target.release()
})

async function client(): Promise<Socket> {
  const socket = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  return socket
}

it.each([0, 20])('passes a large transfer whole and in order, delayed by %i ms', async (delayMs) => {
  const sent = Buffer.alloc(8 * 1024 * 1024)
  for (let i = 0; i < sent.length; i += 4) sent.writeUInt32LE(i, i)
  proxy.delay(delayMs)
  const socket = await client()
  socket.end(sent)
  expect(Buffer.compare(await buffer(socket), sent)).toBe(0)
  await waitUntil('the proxy to forget the connection', () => proxy.connections() === 0)
})

it('keeps the order when the delay is taken away', async () => {
  const socket = await client()
  proxy.delay(50)
  socket.write('one ')
  await waitUntil('the first chunk to arrive', () => serverSockets[0]?.bytesRead === 4)
  proxy.delay(0)
  socket.end('two')
  expect(String(await buffer(socket))).toBe('one two')
})

it('tells the server of a client that vanished, but not in a blackhole', async () => {
  const [first, second] = [await client(), await client()]
  await waitUntil('both connections', () => serverSockets.length === 2)
  first.resetAndDestroy()
  await waitUntil('one close', () => serverSockets.filter((socket) => socket.destroyed).length === 1)
  proxy.blackhole()
  second.resetAndDestroy()
  await waitUntil('the proxy to see the close', () => proxy.connections() === 0)
  expect(serverSockets.filter((socket) => socket.destroyed)).toHaveLength(1)
  proxy.blackhole(false)
  await waitUntil('the other close', () => serverSockets.every((socket) => socket.destroyed))
})

it('lets a connection go on that lost nothing in a blackhole', async () => {
  const socket = await client()
  proxy.blackhole()
  proxy.heal()
  socket.end('still here')
  expect(String(await buffer(socket))).toBe('still here')
})

it('resets the client when the target does not listen', async () => {
  server.close()
  const socket = await client()
  const [error] = await once(socket, 'error')
  expect(error).toMatchObject({ code: 'ECONNRESET' })
})

it('listens no more after close, and may be closed twice', async () => {
  const socket = await client()
  const cut = once(socket, 'error')
  await proxy.close()
  await proxy.close()
  expect(await cut).toMatchObject([{ code: 'ECONNRESET' }])
  await expect(client()).rejects.toThrow('ECONNREFUSED')
})
