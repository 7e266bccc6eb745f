// WebSockets over HTTP/2 (RFC 8441) in a real browser, against the example `tls`:
//
//   node h2.mjs --url https://127.0.0.1:5443/ [--chromium PATH]
//
// Two witnesses say by which version a WebSocket came: the server, which sends its clients the method and the version
// of their handshake, and the browser's DevTools protocol, where a handshake over HTTP/2 is answered with 200 and one
// over HTTP/1.1 with 101.

import { assert, check, equal, launch, LIMIT, main, open, options, until } from "./support.mjs";

const { url, chromium } = options("url");

// The certificate is made at the server's start, and nobody has signed it.
const INSECURE = ["--ignore-certificate-errors"];

/** A page, the protocols of its responses and the statuses of its WebSocket handshakes. */
async function visit(browser) {
  const page = await open(browser, "about:blank", { ignoreHTTPSErrors: true });
  const seen = { protocols: new Map(), statuses: [], sockets: [] };
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Network.enable");
  devtools.on("Network.responseReceived", ({ response }) => seen.protocols.set(new URL(response.url).pathname, response.protocol));
  devtools.on("Network.webSocketHandshakeResponseReceived", ({ response }) => seen.statuses.push(response.status));
  page.on("websocket", (socket) => seen.sockets.push(socket.url()));
  await page.goto(url, { timeout: LIMIT });
  return { page, seen };
}

const told = (page) =>
  until(page, "the server to say how the WebSocket came", () => /^came by .*/.exec(document.querySelector("#log").textContent)?.[0]);

await main(async (track) => {
  const browser = track(await launch(chromium, { args: INSECURE }));

  await check("the page's own WebSocket runs over HTTP/2", async () => {
    const { page, seen } = await visit(browser);
    equal(await told(page), "came by CONNECT of HTTP/2.0", "what the server says");
    equal(seen.protocols.get("/"), "h2", "the protocol of the page");
    equal(seen.sockets.length, 1, "WebSockets");
    equal(seen.statuses, [200], "the status of the handshake");
    await page.context().close();
  });

  await check("the official client upgrades from polling over HTTP/2 to WebSocket over HTTP/2", async () => {
    const { page, seen } = await visit(browser);
    await told(page);
    await page.evaluate(() => connect());
    await until(page, "the upgrade", () => seen.upgraded);
    equal(await page.evaluate(() => seen.messages[0]), "came by GET of HTTP/2.0", "how the session came");
    equal(seen.protocols.get("/engine.io/"), "h2", "the protocol of the polls");
    equal(seen.statuses, [200, 200], "the statuses of the handshakes");
    await page.evaluate(() => client.send("over h2"));
    await until(page, "the echo", () => seen.messages.includes("over h2"));
    await page.context().close();
  });

  await check("a hundred messages of 10 KiB come back in order over HTTP/2", async () => {
    const { page, seen } = await visit(browser);
    await told(page);
    await page.evaluate(() => connect({ transports: ["websocket"] }));
    await until(page, "the session", () => seen.opened);
    await page.evaluate(() => {
      for (let n = 0; n < 100; n++) client.send(`${n} ${"x".repeat(10_240)}`);
    });
    // The first message is the server's own.
    await until(page, "a hundred echoes", () => seen.messages.length === 101);
    const order = await page.evaluate(() => seen.messages.slice(1).map((text) => parseInt(text)));
    assert(order.every((number, at) => number === at), `the order was ${order}`);
    equal(seen.statuses, [200, 200], "the statuses of the handshakes");
    await page.context().close();
  });

  // The same witnesses must be able to say the opposite.
  await check("without HTTP/2 in the browser the WebSocket comes over HTTP/1.1", async () => {
    const old = track(await launch(chromium, { args: [...INSECURE, "--disable-http2"] }));
    const { page, seen } = await visit(old);
    equal(await told(page), "came by GET of HTTP/1.1", "what the server says");
    equal(seen.protocols.get("/"), "http/1.1", "the protocol of the page");
    equal(seen.statuses, [101], "the status of the handshake");
  });
});
