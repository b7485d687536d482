import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type NodeChild, processState, spawnNode } from '../src/index.ts'

const echo = new URL('./fixtures/echo.ts', import.meta.url)
let child: NodeChild

beforeEach(async () => {
  child = await spawnNode(echo, { env: { COLOUR: 'blue' }, args: ['one', 'two'] })
})

afterEach(async () => {
  await child.stop()
})

describe('the line protocol', () => {
  it('answers what is sent', async () => {
    child.send('hello')
    expect(await child.nextLine(/^echo/)).toBe('echo hello')
  })

  it('keeps the lines that came before anybody asked, and those passed over', async () => {
    child.send('last')
    expect(await child.nextLine('echo last')).toBe('echo last')
    expect(await child.nextLine()).toBe('first')
    expect(await child.nextLine('args')).toBe('args one two')
  })

  it('serves several waiting calls, each with its own line', async () => {
    const lines = Promise.all([child.nextLine('echo b'), child.nextLine('echo a')])
    child.send('a')
    child.send('b')
    expect(await lines).toEqual(['echo b', 'echo a'])
  })

  it('gives the child PATH, HOME, LANG, a place for compiled code and what the test names, nothing else', async () => {
    const names = (await child.nextLine('env')).split(' ').slice(1)
    const inherited = ['HOME', 'LANG', 'PATH'].filter((name) => process.env[name] !== undefined)
    expect(names).toEqual(['COLOUR', 'NODE_COMPILE_CACHE', ...inherited].toSorted())
  })

  it('shows all output when the line does not come in time', async () => {
    await child.nextLine('args')
    await expect(child.nextLine('never', 30)).rejects.toThrow(
      /no line with never within 30 ms[^]*args one two/,
    )
  })

  it('does not wait for a child that has ended, and shows its stderr', async () => {
    const waiting = child.nextLine('never')
    child.send('fail')
    await expect(waiting).rejects.toThrow(/no line with never before its end[^]*told to fail/)
    await expect(child.nextLine('never')).rejects.toThrow('before its end')
    expect(await child.exited).toEqual({ code: 1, signal: null })
    child.send('nobody hears this')
  })
})

describe('signals', () => {
  it('SIGSTOP silences the child, and SIGCONT lets it answer', async () => {
    await child.nextLine('args')
    await child.pause()
    expect(processState(child.pid)).toBe('stopped')
    child.send('late')
    await expect(child.nextLine('echo late', 100)).rejects.toThrow('within 100 ms')
    child.resume()
    expect(await child.nextLine('echo late')).toBe('echo late')
  })

  it('kill reports how the child ended', async () => {
    expect(await child.kill('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' })
    expect(processState(child.pid)).toBe('gone')
  })

  it('stop ends a paused child too, and may be called twice', async () => {
    await child.nextLine('args')
    await child.pause()
    expect(await child.stop()).toEqual({ code: null, signal: 'SIGTERM' })
    expect(await child.stop()).toEqual({ code: null, signal: 'SIGTERM' })
  })

  it('says that an ended child cannot be paused', async () => {
    await child.kill()
    await expect(child.pause()).rejects.toThrow('has ended and cannot be paused')
  })
})

describe('stall', () => {
  const clocks = new URL('./fixtures/clocks.ts', import.meta.url)

  it('keeps the event loop from turning for at least that long', async () => {
    await using busy = await spawnNode(clocks)
    await busy.nextLine('ready')
    await busy.stall(400)
    // A slow machine may make shorter gaps before.
    expect(await busy.nextLine(/^gap (?:[4-9]\d\d|\d{4,})$/)).toContain('gap')
  })

  it('begins before it resolves: the child answers nothing meanwhile', async () => {
    await using busy = await spawnNode(clocks)
    await busy.nextLine('ready')
    await busy.stall(60_000)
    busy.send('clocks')
    await expect(busy.nextLine('clocks', 200)).rejects.toThrow('within 200 ms')
    expect(await busy.kill()).toEqual({ code: null, signal: 'SIGKILL' })
  })

  it('says that a child which has ended cannot be stalled', async () => {
    await child.kill()
    await expect(child.stall(1)).rejects.toThrow('has ended and cannot be stalled')
  })

  it('neither keeps a child alive that has nothing left to do, nor is handed down to what it forks', async () => {
    await using idle = await spawnNode(new URL('./fixtures/idle.ts', import.meta.url))
    expect(await idle.nextLine()).toBe('execArgv ')
    expect(await idle.exited).toEqual({ code: 0, signal: null })
  })
})
