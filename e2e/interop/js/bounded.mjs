// Nothing in these tests waits for ever, and nothing waits "to let things settle": every await is
// for an event, and names what it waited for when the event does not come.

import { setTimeout as delay } from 'node:timers/promises';

/** The value of `promise`, or a failure that says `what` did not happen. */
export async function within(promise, what, ms = 5_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Lets `ms` pass. Only for tests whose very subject is time: heartbeats. */
export const letTimePass = (ms) => delay(ms);

/** A queue with one consumer: values that arrive before anybody asks are kept. */
export class Inbox {
  #values = [];
  #waiting = [];
  #end = null;

  push(value) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter.resolve(value);
    else this.#values.push(value);
  }

  /** No value will come any more: those who wait fail with `reason` instead of timing out. */
  end(reason) {
    this.#end = new Error(reason);
    for (const waiter of this.#waiting.splice(0)) waiter.reject(this.#end);
  }

  next(what = 'the next message', ms = 5_000) {
    if (this.#values.length > 0) return Promise.resolve(this.#values.shift());
    if (this.#end) return Promise.reject(this.#end);
    const { promise, ...waiter } = deferred();
    this.#waiting.push(waiter);
    return within(promise, what, ms);
  }

  async take(count, what = `${count} messages`, ms = 20_000) {
    const values = [];
    const all = (async () => {
      while (values.length < count) values.push(await this.next(what, ms));
    })();
    await within(all, `${what} (got ${values.length})`, ms + 100);
    return values;
  }
}

/** `Promise.withResolvers`, which Node 20 does not have. */
export function deferred() {
  let resolve;
  let reject;
  const promise = new Promise((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Whoever waits sees the rejection; nobody waiting is no reason to end the process.
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** Runs `job(0) … job(count - 1)`, at most `limit` of them at a time; fails with the first failure. */
export async function bounded(count, limit, job) {
  let started = 0;
  const worker = async () => {
    while (started < count) await job(started++);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}
