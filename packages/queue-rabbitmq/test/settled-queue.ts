import { type RabbitmqServer, waitUntil } from '@multinode/testbed'

/** How many jobs a queue has, those included that workers have: asked of its leader, because what the server lists is some seconds old. */
export async function jobsIn(server: RabbitmqServer, queue: string): Promise<number> {
  const count =
    await server.evaluate(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"${queue}">>)),
    {ok, {_, Count}, _} = ra:leader_query(amqqueue:get_pid(Q), fun rabbit_fifo:query_messages_total/1), Count`)
  return Number(count)
}

/** Resolves when a queue that was started anew has read all that it had written: until then it counts what it had long before. By a command that changes nothing, and comes after all of that. */
export async function untilRead(server: RabbitmqServer, queue: string): Promise<void> {
  await server.evaluate(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"${queue}">>)),
    {ok, _, _} = ra:process_command(amqqueue:get_pid(Q), rabbit_fifo:make_garbage_collection()), true`)
}

/** Resolves when nothing is left in it: what did not run by then will not. */
export async function untilEmpty(server: RabbitmqServer, queue: string, deadlineMs = 60_000): Promise<void> {
  await waitUntil(`${queue} to be empty`, async () => (await jobsIn(server, queue)) === 0, {
    deadlineMs,
    everyMs: 250,
  })
}
