// Sessions of a background tab and of a page in the back/forward cache, in a real browser against the example `echo` with a heartbeat of 300 ms
// (`--ping-interval-ms 300 --ping-timeout-ms 2000`):
//
//   node background.mjs --url http://127.0.0.1:3001/ [--chromium PATH]
//
// Timers of a background tab fire once a second at most. Playwright makes every page believe that it is in front, so
// this test speaks the DevTools protocol itself. Nor does it cope with pages that come back from the cache.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { WebSocket } from "ws";

import { ARGS, assert, bundle, check, equal, LIMIT, main, observe, options, pageScript, within } from "./support.mjs";

const { url, chromium } = options("url");

/** A browser with a profile of its own, and the commands of its DevTools protocol. */
async function start() {
  const profile = mkdtempSync(join(tmpdir(), "engineio-background-"));
  const switches = ["--headless=new", ...ARGS, "--remote-debugging-port=0", `--user-data-dir=${profile}`];
  const child = spawn(chromium, [...switches, "about:blank"], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((done) => child.once("exit", done));
  const close = async () => {
    await send("Browser.close").catch(() => child.kill("SIGKILL"));
    await within(ended, "the browser to end").catch(() => child.kill("SIGKILL"));
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
  };
  const address = new Promise((done) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      const found = /^DevTools listening on (.*)$/.exec(line);
      if (found) done(found[1]);
    });
  });
  const socket = new WebSocket(await within(address, "the browser to start"));
  await within(new Promise((done) => socket.once("open", done)), "the DevTools protocol");
  let last = 0;
  const waiting = new Map();
  socket.on("message", (text) => {
    const { id, result, error } = JSON.parse(text);
    waiting.get(id)?.(result ?? { error });
    waiting.delete(id);
  });
  const send = async (method, params = {}, sessionId = undefined) => {
    const id = ++last;
    const answer = new Promise((done) => waiting.set(id, done));
    socket.send(JSON.stringify({ id, method, params, sessionId }));
    const result = await within(answer, method);
    assert(!result.error, `${method}: ${result.error?.message}`);
    return result;
  };
  return { send, close };
}

/** A tab with the official client in it. */
async function open(browser) {
  const { targetId } = await browser.send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await browser.send("Target.attachToTarget", { targetId, flatten: true });
  const send = (method, params) => browser.send(method, params, sessionId);
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
    assert(!exceptionDetails, `${expression}: ${exceptionDetails?.exception?.description}`);
    return result.value;
  };
  const until = async (expression, limit = LIMIT) => {
    const deadline = Date.now() + limit;
    while (Date.now() < deadline) {
      const value = await evaluate(expression);
      if (value) return value;
    }
    throw new Error(`waited ${limit / 1000} s for ${expression}, but saw ${await evaluate("JSON.stringify(window.seen)")}`);
  };
  await send("Page.enable");
  await send("Page.navigate", { url });
  await until(`location.href === ${JSON.stringify(url)} && document.readyState === "complete"`);
  for (const script of [bundle("engine.io.min.js"), pageScript]) await evaluate(`${readFileSync(script, "utf8")}; true`);
  return { targetId, send, evaluate, until };
}

await main(async () => {
  const browser = await start();
  const observer = await observe(url);
  try {
    for (const transport of ["polling", "websocket"]) {
      await check(`${transport}: the heartbeat survives in a background tab`, async () => {
        const tab = await open(browser);
        await tab.evaluate(`connect({ transports: ["${transport}"] })`);
        const sid = await tab.until("seen.sid");
        const front = await browser.send("Target.createTarget", { url: "about:blank" });
        await browser.send("Target.activateTarget", { targetId: front.targetId });
        await tab.until('document.visibilityState === "hidden"');
        await tab.evaluate("window.ticks = 0; setInterval(() => (ticks += 1), 10); seen.pings = 0; true");
        // The server's pings are the clock: ten of them take 3 s.
        await tab.until("seen.pings >= 10 || seen.closed");
        const ticks = await tab.evaluate("ticks");
        assert(ticks <= 20, `a timer of 10 ms fired ${ticks} times in 3 s: nothing was throttled`);
        await tab.evaluate('void client.send("from the background")');
        await tab.until('seen.messages.includes("from the background")');
        equal(await tab.evaluate("[seen.closed, client.id, document.visibilityState]"), [null, sid, "hidden"], "the end");
        for (const { targetId } of [tab, front]) await browser.send("Target.closeTarget", { targetId });
      });

      // The browser stops such a page and tells nobody, so nothing is left but the heartbeat.
      await check(`${transport}: a page in the back/forward cache is given up, and notices when one comes back`, async () => {
        const tab = await open(browser);
        await tab.evaluate(`connect({ transports: ["${transport}"] }); addEventListener("pageshow", ({ persisted }) => (window.cached = persisted))`);
        const sid = await tab.until("seen.sid");
        const { currentIndex, entries } = await tab.send("Page.getNavigationHistory");
        await tab.send("Page.navigate", { url: `${url}elsewhere` });
        equal(await observer.gone(sid, LIMIT), "ping timeout", "the server's reason");
        await tab.send("Page.navigateToHistoryEntry", { entryId: entries[currentIndex].id });
        await tab.until("window.cached && seen.closed");
        await tab.evaluate(`connect({ transports: ["${transport}"] })`);
        assert((await tab.until("seen.sid")) !== sid, "the sid is the same");
        await tab.evaluate('void client.send("back again")');
        await tab.until('seen.messages.includes("back again")');
        await browser.send("Target.closeTarget", { targetId: tab.targetId });
      });
    }
    observer.close();
  } finally {
    await browser.close();
  }
});
