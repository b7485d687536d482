/** What is due first comes first; of what is due at the same time, what was put in first. A binary heap: each operation takes log n steps. */
export class JobHeap<T extends { readonly dueMs: number }> {
  #items: { readonly item: T; readonly order: number }[] = []
  #order = 0

  get size(): number {
    return this.#items.length
  }

  get first(): T | undefined {
    return this.#items[0]?.item
  }

  push(item: T): void {
    this.#order += 1
    this.#items.push({ item, order: this.#order })
    this.#rise(this.#items.length - 1)
  }

  /** Takes out all others, in a time that grows with how many there are. */
  keep(isKept: (item: T) => boolean): void {
    const kept = this.#items.filter(({ item }) => isKept(item))
    this.#items = []
    for (const each of kept) {
      this.#items.push(each)
      this.#rise(this.#items.length - 1)
    }
  }

  pop(): T | undefined {
    const first = this.#items[0]
    const last = this.#items.pop()
    if (first === undefined || last === undefined || this.#items.length === 0) return first?.item
    this.#items[0] = last
    for (let index = 0; ;) {
      const [left, right] = [2 * index + 1, 2 * index + 2]
      let least = index
      if (left < this.#items.length && this.#isBefore(left, least)) least = left
      if (right < this.#items.length && this.#isBefore(right, least)) least = right
      if (least === index) return first.item
      this.#swap(index, least)
      index = least
    }
  }

  #rise(from: number): void {
    let index = from
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!this.#isBefore(index, parent)) break
      this.#swap(index, parent)
      index = parent
    }
  }

  #isBefore(one: number, other: number): boolean {
    const [a, b] = [this.#items[one], this.#items[other]]
    if (a === undefined || b === undefined) return false
    return a.item.dueMs === b.item.dueMs ? a.order < b.order : a.item.dueMs < b.item.dueMs
  }

  #swap(one: number, other: number): void {
    const [a, b] = [this.#items[one], this.#items[other]]
    if (a === undefined || b === undefined) return
    this.#items[one] = b
    this.#items[other] = a
  }
}
