// Cross-origin pages with credentials, and cookies, in a real browser against the example `echo`:
//
//   node origins.mjs --url http://127.0.0.1:3000/ [--chromium PATH]
//
// The server must run with `--origins http://app.example.test --cookie io`. Its pages come from a server of this test.
// The names exist in this browser only: `api.example.test` is the server; `app.example.test`, of the same site and
// another origin, is the page that is let in; `evil.test` is the page that is not.

import { createServer } from "node:http";

import { assert, check, equal, launch, main, open, options, until, within } from "./support.mjs";

const { url, chromium } = options("url");

const pages = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html><title>page</title>"));
await new Promise((done) => pages.listen(0, "127.0.0.1", done));
pages.unref();

const API = `http://api.example.test:${new URL(url).port}`;
const APP = "http://app.example.test";
const RULES = ["app.example.test:80", "evil.test:80"].map((name) => `MAP ${name} 127.0.0.1:${pages.address().port}`);
const ARGS = [`--host-resolver-rules=${[...RULES, "MAP api.example.test 127.0.0.1"].join(", ")}`];

/** A page of that origin, and what goes between it and the server. */
async function visit(browser, origin) {
  const page = await open(browser, `${origin}/`);
  const ours = new Set();
  const sent = [];
  const got = [];
  const own = (all) => all.filter(({ requestId }) => ours.has(requestId));
  let news = () => {};
  const seen = {
    preflights: 0,
    // A page asks for an icon too, among others.
    get cookies() {
      return own(sent).map(({ cookie }) => cookie);
    },
    get responses() {
      return own(got);
    },
    // DevTools reports requests and responses through two channels, late and in any order.
    answered: (count) =>
      within(
        new Promise((done) => {
          news = () => seen.responses.length >= count && done();
          news();
        }),
        `${count} responses`,
      ),
  };
  // The actual traffic, which pages and the events of their requests do not show.
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Network.enable");
  devtools.on("Network.requestWillBeSent", ({ requestId, request }) => {
    if (!request.url.startsWith(API)) return;
    ours.add(requestId);
    seen.preflights += request.method === "OPTIONS";
    news();
  });
  devtools.on("Network.requestWillBeSentExtraInfo", ({ requestId, headers }) => sent.push({ requestId, cookie: headers.Cookie ?? headers.cookie ?? null }));
  devtools.on("Network.responseReceivedExtraInfo", ({ requestId, statusCode, headers }) => {
    const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
    got.push({ requestId, status: statusCode, headers: Object.fromEntries(lower) });
    news();
  });
  return { page, seen };
}

const connect = (page, settings) => page.evaluate(([settings, api]) => window.connect(settings, api), [settings, API]);
const opened = (page) => until(page, "the session", () => seen.opened && seen.sid);

async function echoed(page, text) {
  await page.evaluate((text) => client.send(text), text);
  await until(page, `the echo of ${text}`, (text) => seen.messages.at(-1) === text, text);
}

await main(async (track) => {
  const browser = track(await launch(chromium, { args: ARGS }));

  await check("with credentials: the cookie is set, kept from scripts, and comes back with each poll", async () => {
    const { page, seen } = await visit(browser, APP);
    await connect(page, { transports: ["polling"], withCredentials: true });
    const sid = await opened(page);
    await echoed(page, "one");
    await echoed(page, "two");
    await seen.answered(4);
    const [cookie, ...others] = await page.context().cookies(API);
    assert(cookie && !others.length, `cookies are ${JSON.stringify([cookie, ...others])}`);
    equal([cookie.name, cookie.value, cookie.httpOnly, cookie.sameSite], ["io", sid, true, "Lax"], "the cookie");
    equal(await page.evaluate(() => document.cookie), "", "what scripts see of it");
    const [handshake, ...rest] = seen.cookies;
    equal(handshake, null, "the cookie of the handshake");
    assert(rest.length >= 3 && rest.every((cookie) => cookie === `io=${sid}`), `later cookies were ${rest}`);
    for (const { headers } of seen.responses) {
      equal(headers["access-control-allow-origin"], APP, "allowed origin");
      equal(headers["access-control-allow-credentials"], "true", "credentials");
      assert(/\borigin\b/i.test(headers.vary), `vary is ${headers.vary}`);
    }
    equal(seen.preflights, 0, "preflights");
    await page.context().close();
  });

  await check("without credentials: no cookie is kept or sent", async () => {
    const { page, seen } = await visit(browser, APP);
    await connect(page, { transports: ["polling"] });
    await opened(page);
    await echoed(page, "one");
    equal(await page.context().cookies(API), [], "cookies");
    assert(seen.cookies.every((cookie) => cookie === null), `sent ${seen.cookies}`);
    await page.context().close();
  });

  await check("a header of the page's own is asked for by a preflight, and let through", async () => {
    const { page, seen } = await visit(browser, APP);
    await connect(page, { transports: ["polling"], withCredentials: true, extraHeaders: { "x-token": "secret" } });
    await opened(page);
    await echoed(page, "one");
    assert(seen.preflights >= 1, "there was no preflight");
    await page.context().close();
  });

  await check("the upgrade goes across origins, with the cookie", async () => {
    const { page, seen } = await visit(browser, APP);
    const devtools = await page.context().newCDPSession(page);
    await devtools.send("Network.enable");
    const shaken = new Promise((done) => devtools.on("Network.webSocketHandshakeResponseReceived", ({ response }) => done(response)));
    await connect(page, { withCredentials: true });
    const sid = await opened(page);
    await until(page, "the upgrade", () => window.seen.upgraded);
    await echoed(page, "by frame");
    const { status, requestHeaders } = await within(shaken, "the handshake of the WebSocket");
    equal(status, 101, "the status");
    const sent = Object.fromEntries(Object.entries(requestHeaders ?? {}).map(([name, value]) => [name.toLowerCase(), value]));
    equal(sent.origin, APP, "the origin of the handshake");
    assert(seen.cookies.includes(`io=${sid}`), `cookies were ${seen.cookies}`);
    await page.context().close();
  });

  await check("a page of another origin is refused by polling, and can read nothing", async () => {
    const { page, seen } = await visit(browser, "http://evil.test");
    await connect(page, { transports: ["polling"], withCredentials: true });
    await until(page, "the client to give up", () => window.seen.error);
    equal(await page.evaluate(() => window.seen.opened), false, "opened");
    const got = await page.evaluate(async (api) => {
      const readable = await fetch(`${api}/engine.io/?EIO=4&transport=polling`, { credentials: "include" }).then(() => true, () => false);
      // A request of this kind names no origin, so it is answered; what comes is for nobody to read.
      const { type } = await fetch(`${api}/engine.io/?EIO=4&transport=polling`, { mode: "no-cors", credentials: "include" });
      return { readable, type };
    }, API);
    equal(got, { readable: false, type: "opaque" }, "what scripts get");
    await seen.answered(1);
    assert(seen.responses.some(({ status }) => status >= 400), "nothing was refused");
    for (const { headers } of seen.responses) {
      equal(headers["access-control-allow-origin"] ?? null, null, "allowed origin");
    }
    equal(await page.context().cookies(API), [], "cookies");
    await page.context().close();
  });

  await check("a page of another origin is refused by WebSocket", async () => {
    const { page } = await visit(browser, "http://evil.test");
    await connect(page, { transports: ["websocket"] });
    await until(page, "the client to give up", () => window.seen.error);
    equal(await page.evaluate(() => window.seen.opened), false, "opened");
    await page.context().close();
  });
});
