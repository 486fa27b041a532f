// The flows that the table shows and the picture is made of: in order of time, each once, so many and no more.
import type { Flow } from "../model/flow";

export class FlowLog {
  private items: Flow[] = [];
  private ids = new Set<string>();
  /** So many have been added, those that are gone included. */
  added = 0;

  constructor(readonly capacity: number) {}

  /** Adds what is new and tells it. */
  add(flows: readonly Flow[]): Flow[] {
    const fresh = flows.filter((flow) => {
      if (this.ids.has(flow.id)) return false;
      this.ids.add(flow.id);
      return true;
    });
    if (fresh.length === 0) return fresh;
    let last = this.items.at(-1)?.time ?? -Infinity;
    let sorted = true;
    for (const flow of fresh) {
      sorted &&= flow.time >= last;
      last = flow.time;
      this.items.push(flow);
    }
    // Streams of many nodes are merged by the relay, nearly; a backlog comes after what it is older than.
    if (!sorted) this.items.sort((a, b) => a.time - b.time);
    // Dropped by quarters, so that the cost per flow does not depend on the capacity.
    if (this.items.length > this.capacity * 1.25) {
      const gone = this.items.splice(0, this.items.length - this.capacity);
      for (const flow of gone) this.ids.delete(flow.id);
    }
    this.added += fresh.length;
    return fresh;
  }

  keep(test: (flow: Flow) => boolean): void {
    this.items = this.items.filter(test);
    this.ids = new Set(this.items.map((flow) => flow.id));
  }

  clear(): void {
    this.items = [];
    this.ids.clear();
  }

  get size(): number {
    return this.items.length;
  }

  /** Oldest first. */
  get all(): readonly Flow[] {
    return this.items;
  }

  find(id: string): Flow | undefined {
    return this.ids.has(id) ? this.items.findLast((flow) => flow.id === id) : undefined;
  }
}
