import { describe, expect, test } from 'vitest'
import { PlainNode, scriptPath } from '../support/plain-node.ts'

interface Heard {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly lines: readonly string[]
}

/** Runs a scenario in a process of its own and sends it signals, each once it has printed the text before it. */
async function run(
  scenario: string,
  ...steps: readonly (readonly [string, NodeJS.Signals])[]
): Promise<Heard> {
  const node = new PlainNode([scriptPath('cluster/signals.script.ts'), scenario])
  for (const [text, signal] of steps) {
    await node.printed(text)
    node.kill(signal)
  }
  const { code, signal, stdout, stderr } = await node.ended
  expect(stderr).toBe('')
  return { code, signal, lines: stdout.trimEnd().split('\n') }
}

describe.concurrent('handleSignals, in a process of its own', { timeout: 20_000 }, () => {
  test('SIGTERM drains, closes, and ends the process by that signal', async () => {
    expect(await run('drains', ['ready', 'SIGTERM'])).toEqual({
      code: null,
      signal: 'SIGTERM',
      lines: ['ready', 'before drain', 'work of one finished'],
    })
  })

  test('a failing beforeDrain is reported and stops nothing, for SIGINT alike', async () => {
    expect(await run('hook fails', ['ready', 'SIGINT'])).toEqual({
      code: null,
      signal: 'SIGINT',
      lines: [
        'ready',
        'error of one: Unexpected failure in the background: the server did not close',
        'work of one finished',
      ],
    })
  })

  test('a beforeDrain that hangs is left at the deadline', async () => {
    expect(await run('hook hangs', ['ready', 'SIGTERM'])).toEqual({
      code: null,
      signal: 'SIGTERM',
      lines: ['ready', 'error of one: beforeDrain was not done after 50 ms (deadlineMs).'],
    })
  })

  test('a drain that was begun before with a later deadline does not prolong the shutdown', async () => {
    expect(await run('drained before', ['ready', 'SIGTERM'])).toEqual({
      code: null,
      signal: 'SIGTERM',
      lines: ['ready'],
    })
  })

  test('a second signal ends the process at once', async () => {
    expect(await run('work never ends', ['ready', 'SIGTERM'], ['before drain', 'SIGINT'])).toEqual({
      code: null,
      signal: 'SIGINT',
      lines: ['ready', 'before drain'],
    })
  })

  test('work that does not end is left at the deadline', async () => {
    expect(await run('deadline passes', ['ready', 'SIGTERM'])).toEqual({
      code: null,
      signal: 'SIGTERM',
      lines: ['ready', 'before drain'],
    })
  })

  test('of two cluster objects, the one that is done first does not cut the other short', async () => {
    expect(await run('two cluster objects', ['ready', 'SIGTERM'])).toEqual({
      code: null,
      signal: 'SIGTERM',
      lines: ['ready', 'before drain', 'work of slow finished'],
    })
  })

  test('where somebody else listens, the signal is not sent again and the end is theirs', async () => {
    expect(await run('somebody else listens', ['ready', 'SIGTERM'])).toEqual({
      code: 3,
      signal: null,
      lines: ['ready', 'heard by somebody else', 'before drain', 'work of one finished', 'exit, closed'],
    })
  })

  test('an open cluster on memory does not keep the process alive', async () => {
    expect(await run('no signal')).toEqual({
      code: 0,
      signal: null,
      lines: ['alive because of: ', 'ready', 'exit, running'],
    })
  })
})
