// What happens to sessions when a page is reloaded, left, closed or cut off, in a real browser
// against the example `echo`:
//
//   node lifetime.mjs --url http://127.0.0.1:3000/ --quick http://127.0.0.1:3001/ [--chromium PATH]
//
// The log of the first server is in the file that the environment names as `LOG_OF_` and its origin; it has the polls
// (`RUST_LOG=engineio::poll=trace`).
//
// The first server has the usual heartbeat of 25 s, so that whatever it notices at once it was told. The second has one
// of 300 ms (`--ping-interval-ms 300 --ping-timeout-ms 2000`).

import { createServer } from "node:http";

import { assert, check, equal, launch, main, observe, open, options, polled, until } from "./support.mjs";

const { url, quick, chromium } = options("url", "quick");

/** The time limit for the server to notice an event, in ms. Far below its heartbeat, and enough for a busy machine. */
const PROMPTLY = 5_000;

const elsewhere = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html><title>elsewhere</title>"));
await new Promise((done) => elsewhere.listen(0, "127.0.0.1", done));
elsewhere.unref();
const ELSEWHERE = `http://127.0.0.1:${elsewhere.address().port}/`;

const TRANSPORTS = ["polling", "websocket"];

/** A page with a session over one transport, and its sid. */
async function visit(browser, transport, address = url) {
  const page = await open(browser, address);
  return { page, sid: await connect(page, transport) };
}

async function connect(page, transport) {
  await page.evaluate((transport) => window.connect({ transports: [transport] }), transport);
  return until(page, "the session", () => seen.sid);
}

async function echoed(page, text) {
  await page.evaluate((text) => client.send(text), text);
  await until(page, `the echo of ${text}`, (text) => seen.messages.at(-1) === text, text);
}

/** Ways to leave a page, and what a browser does then. */
const WAYS = {
  reload: (page) => page.reload(),
  "navigation within the origin": (page) => page.goto(`${url}?again`),
  "navigation to another site": (page) => page.goto(ELSEWHERE),
  "closing the tab": (page) => page.close(),
};

await main(async (track) => {
  const observer = await observe(url);

  const browser = track(await launch(chromium));
  for (const transport of TRANSPORTS) {
    for (const [way, leave] of Object.entries(WAYS)) {
      await check(`${transport}: ${way} ends the session at once`, async () => {
        const { page, sid } = await visit(browser, transport);
        await echoed(page, "before");
        // One poll has brought the echo, and the next one is what the server loses.
        if (transport === "polling") await polled(url, sid, 2);
        await leave(page);
        const reason = await observer.gone(sid, PROMPTLY);
        // An aborted poll is an error of the transport, and a WebSocket is closed.
        equal(reason, transport === "polling" ? "transport error" : "transport close", "the reason");
        if (way === "reload") {
          const second = await connect(page, transport);
          assert(second !== sid, "the sid is the same after a reload");
          await echoed(page, "after");
        }
        await page.context().close();
      });
    }
  }

  await check("an orderly close is told apart from a lost page", async () => {
    for (const transport of TRANSPORTS) {
      const { page, sid } = await visit(browser, transport);
      await page.evaluate(() => client.close());
      equal(await observer.gone(sid, PROMPTLY), transport === "polling" ? "client disconnect" : "transport close", `the reason by ${transport}`);
      await page.context().close();
    }
  });
  observer.close();

  await check("offline: both sides notice; online: the page connects again", async () => {
    const witness = await observe(quick);
    for (const transport of TRANSPORTS) {
      const { page, sid } = await visit(browser, transport, quick);
      await echoed(page, "online");
      await page.context().setOffline(true);
      const closed = await until(page, "the client to notice", () => seen.closed);
      assert(["transport close", "transport error", "ping timeout"].includes(closed), `closed by ${closed}`);
      const reason = await witness.gone(sid, PROMPTLY);
      assert(["transport close", "transport error", "ping timeout"].includes(reason), `left by ${reason}`);
      await page.evaluate((transport) => window.connect({ transports: [transport] }), transport);
      await until(page, "the attempt to fail", () => seen.error);
      await page.context().setOffline(false);
      const second = await connect(page, transport);
      assert(second !== sid, "the sid is the same");
      await echoed(page, "online again");
      await page.context().close();
    }
    witness.close();
  });
});
