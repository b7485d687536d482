import { type RabbitmqServer, waitUntil } from '@multinode/testbed'

/** How many jobs a queue has, those included that workers have: asked of its leader, because what the server lists is some seconds old. */
export async function jobsIn(server: RabbitmqServer, queue: string): Promise<number> {
  const count =
    await server.evaluate(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"${queue}">>)),
    {ok, {_, Count}, _} = ra:leader_query(amqqueue:get_pid(Q), fun rabbit_fifo:query_messages_total/1), Count`)
  return Number(count)
}

/** Resolves when nothing is left in it: what did not run by then will not. */
export async function untilEmpty(server: RabbitmqServer, queue: string, deadlineMs = 60_000): Promise<void> {
  await waitUntil(`${queue} to be empty`, async () => (await jobsIn(server, queue)) === 0, {
    deadlineMs,
    everyMs: 250,
  })
}
