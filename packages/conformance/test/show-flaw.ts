/** Rejects when the flaw shows in one of three runs: one that shows for some 100 ms is hidden where the machine stands still in that moment. */
export async function showFlaw(run: () => Promise<void>): Promise<void> {
  for (let time = 0; time < 3; time += 1) await run()
}
