// Shared by the browser tests: a browser, checks that are printed line by line, and waits with a time limit.
//
// Every test is a program: `node NAME.mjs --url URL [--chromium PATH] …`. It prints `ok - …` or `not ok - …` for each
// check, and its exit status is 0 if all passed.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { chromium } from "playwright-core";
import { Socket } from "engine.io-client";

export const LIMIT = 15_000; // ms for any single thing that is waited for
const CHECK = 60_000; // ms for one check
const TOTAL = 150_000; // ms for a whole program

/** The directory of the bundles for browsers. */
const BUNDLES = join(dirname(createRequire(import.meta.url).resolve("engine.io-client/package.json")), "dist");
export const bundle = (name) => join(BUNDLES, name);

/** The common part of every page. */
export const pageScript = fileURLToPath(new URL("page.js", import.meta.url));

/** The options of the command line; each of `names`, which are URLs, must be given. */
export function options(...names) {
  const known = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  const { values } = parseArgs({ options: { ...known, chromium: { type: "string", default: "/usr/bin/chromium" } } });
  const missing = names.filter((name) => !values[name]);
  if (missing.length) {
    console.error(`missing: ${missing.map((name) => `--${name}`).join(", ")}`);
    process.exit(2);
  }
  // With the slash at its end that browsers give it.
  for (const name of names) values[name] = new URL(values[name]).href;
  return values;
}

let failures = 0;

/** Runs one check and prints what came of it; the others are run all the same. */
export async function check(name, run) {
  try {
    await within(run(), "the check", CHECK);
    console.log(`ok - ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`not ok - ${name}: ${brief(error)}`);
  }
}

const brief = (error) => String(error?.message ?? error).split("\n").slice(0, 3).join(" ").trim().slice(0, 500);

export function assert(condition, message) {
  if (!condition) throw new Error(message);
}

export function equal(got, wanted, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  assert(a === b, `${what}: got ${a} instead of ${b}`);
}

/** Waits until `probe`, run in the page, gives something true, and returns that. */
export async function until(page, what, probe, argument, limit = LIMIT) {
  try {
    const handle = await page.waitForFunction(probe, argument, { timeout: limit, polling: 20 });
    return await handle.jsonValue();
  } catch (error) {
    if (error.name !== "TimeoutError") throw error;
    const seen = await page.evaluate(() => JSON.stringify(window.seen ?? document.body.innerText)).catch(() => "no page");
    throw new Error(`waited ${limit / 1000} s for ${what}, but saw ${seen}`);
  }
}

/** The value of `promise`, or an error if it takes too long. */
export function within(promise, what, limit = LIMIT) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`waited ${limit / 1000} s for ${what}`)), limit);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Switches for a browser that does nothing of its own accord. */
export const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A headless Chromium; `settings` are those of Playwright, `args` more switches. With `quic`, it speaks QUIC too. */
export function launch(executablePath, { args = [], quic = false, ...settings } = {}) {
  const usual = ARGS.filter((switched) => !quic || switched !== "--disable-quic");
  // The new headless mode is the browser itself, without its windows.
  return chromium.launch({ executablePath, timeout: LIMIT, args: ["--headless=new", ...usual, ...args], ...settings });
}

/** A page with the official client in it (as `eio`) and what `page.js` has, after each navigation again. */
export async function open(browser, url, settings = {}) {
  const context = await browser.newContext(settings);
  context.setDefaultTimeout(LIMIT);
  await context.addInitScript({ path: bundle("engine.io.min.js") });
  await context.addInitScript({ path: pageScript });
  const page = await context.newPage();
  await page.goto(url, { timeout: LIMIT });
  return page;
}

/**
 * Waits until so many polls of a session have reached the server, which leaves a line in its log for each. A page whose
 * poll has not reached the server yet leaves without a trace.
 */
export async function polled(url, sid, count) {
  const log = process.env[`LOG_OF_${new URL(url).origin}`];
  assert(log, "the log of the server is unknown: run this with `cargo xtask interop --only browser`");
  const line = `a poll arrived sid="${sid.slice(0, 6)}"`;
  for (const late = Date.now() + LIMIT; Date.now() < late; await delay(20)) {
    if ((await readFile(log, "utf8")).split(line).length > count) return;
  }
  throw new Error(`waited ${LIMIT / 1000} s for poll ${count} of ${sid} to reach the server`);
}

/** A client outside the browser that hears which clients leave the server. */
export async function observe(url) {
  const socket = new Socket(url, { transports: ["websocket"] });
  const left = new Map(); // sid -> { reason, at }
  let news = () => {};
  const answer = new Promise((done, fail) => {
    socket.on("open", () => socket.send("watch"));
    socket.on("message", (text) => {
      if (text.startsWith("watching ")) return done();
      const [, sid, reason] = /^gone (\S+) (.*)$/.exec(text) ?? [];
      if (sid) left.set(sid, { reason, at: performance.now() });
      news();
    });
    socket.on("close", (reason) => fail(new Error(`the observer was closed: ${reason}`)));
  });
  await within(answer, "the observer to be let in");
  return {
    close: () => socket.close(),
    /** Waits until the server says that this client is gone; gives its reason. */
    async gone(sid, limit) {
      const seen = new Promise((done) => {
        news = () => left.has(sid) && done(left.get(sid).reason);
        news();
      });
      return within(seen, `the server to notice that ${sid} is gone`, limit);
    },
  };
}

/** Runs the whole program and ends it. */
export async function main(run) {
  const overall = setTimeout(() => {
    console.log(`not ok - everything within ${TOTAL / 1000} s`);
    process.exit(1);
  }, TOTAL);
  const open = [];
  try {
    await run((browser) => (open.push(browser), browser));
  } catch (error) {
    failures += 1;
    console.log(`not ok - the test itself: ${brief(error)}`);
  }
  await Promise.race([Promise.all(open.map((browser) => browser.close())), new Promise((done) => setTimeout(done, 5_000))]);
  clearTimeout(overall);
  console.log(failures ? `${failures} failed` : "all passed");
  process.exit(failures ? 1 : 0);
}
