import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeTogether } from '../src/write-together.ts'

describe('what is written in one turn', () => {
  let server: Server
  let socket: Socket
  let received = ''

  beforeEach(async () => {
    received = ''
    server = createServer((peer) => peer.on('data', (chunk) => (received += String(chunk))))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new TypeError('no port')
    socket = connect(address.port, '127.0.0.1')
    await once(socket, 'connect')
  })
  afterEach(() => {
    socket.destroy()
    server.close()
  })

  const held = (...parts: string[]): number[] =>
    parts.map((part) => {
      socket.write(part)
      return socket.writableLength
    })

  it('leaves in two pieces: the first at once, the others when the running code is done', async () => {
    writeTogether(socket)
    expect(held('a', 'b', 'c')).toEqual([0, 1, 2])
    await new Promise((resolve) => process.nextTick(resolve))
    expect(socket.writableLength).toBe(0)
    expect(held('d', 'e')).toEqual([0, 1])
    socket.end('f')
    await once(socket, 'close')
    expect(received).toBe('abcdef')
  })

  it('the control: by itself a socket writes each at once', () => {
    expect(held('a', 'b', 'c')).toEqual([0, 0, 0])
  })
})
