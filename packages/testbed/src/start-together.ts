/** All at once. What could be started is in the stack also when one fails, and so is stopped with the others. */
export async function startTogether<T extends AsyncDisposable>(
  stack: AsyncDisposableStack,
  starts: readonly Promise<T>[],
): Promise<T[]> {
  const used = starts.map(async (start) => stack.use(await start))
  await Promise.allSettled(used)
  return await Promise.all(used)
}
