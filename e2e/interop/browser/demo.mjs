// Drives the demo page in a real browser:
//
//   node demo.mjs --url http://127.0.0.1:3000/ --webtransport http://127.0.0.1:3001/ [--out DIR] [--chromium PATH]
//
// The second server is a demo with `--webtransport`. With `--out`, pictures of the page are put there.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { assert, check, launch, LIMIT, main } from "./support.mjs";

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    webtransport: { type: "string" },
    out: { type: "string" },
    chromium: { type: "string", default: "/usr/bin/chromium" },
  },
});
if (!options.url || !options.webtransport) {
  console.error("usage: node demo.mjs --url URL --webtransport URL [--out DIR] [--chromium PATH]");
  process.exit(2);
}
if (options.out) mkdirSync(options.out, { recursive: true });

// Waits until `probe` (run in the page) returns something true.
async function until(page, what, probe, argument, limit = LIMIT) {
  const waited = page.waitForFunction(probe, argument, { timeout: limit, polling: 50 });
  await waited.catch(async (error) => {
    if (error.name !== "TimeoutError") throw error;
    const seen = await page.evaluate(snapshot).catch(() => "nothing, the page does not answer");
    throw new Error(`waited ${limit / 1000} s for ${what}, but saw ${seen}`);
  });
}

function snapshot() {
  return JSON.stringify({
    body: { ...document.body.dataset },
    chart: { ...document.querySelector("#chart")?.dataset },
    clients: document.querySelector("#clients")?.textContent,
    messages: [...document.querySelectorAll("#messages .text")].map((node) => node.textContent),
    events: [...document.querySelectorAll("#log li span")].slice(0, 6).map((node) => node.textContent),
  });
}

const isOpen = (transport) => document.body.dataset.state === "open" && document.body.dataset.transport === transport;
const points = (page) => page.locator("#chart").getAttribute("data-points").then(Number);

// Everything a page must not do: log errors, throw, or have requests fail.
// `expected` is set while the test itself breaks something.
function watch(page, name, url) {
  const log = { complaints: [], expected: false, console: [], post: [], sockets: [] };
  const complain = (text) => log.expected || log.complaints.push(`${name}: ${text}`);
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complain(`console ${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complain(`exception: ${error.message}`));
  page.on("requestfailed", (request) => complain(`${request.method()} ${request.url()} failed: ${request.failure()?.errorText}`));
  page.on("response", (response) => response.status() >= 400 && complain(`${response.request().method()} ${response.url()} answered ${response.status()}`));
  page.on("request", (request) => {
    if (request.method() === "POST") log.post.push(request.url());
    const foreign = new URL(request.url()).origin !== new URL(url).origin && !request.url().startsWith("data:");
    if (foreign) complain(`asks for the external ${request.url()}`);
  });
  page.on("websocket", (ws) => {
    const frames = { sent: [], received: [] };
    log.sockets.push(frames);
    ws.on("framesent", ({ payload }) => frames.sent.push(payload));
    ws.on("framereceived", ({ payload }) => frames.received.push(payload));
  });
  return log;
}

async function open(browser, name, settings = {}, hash = "", url = options.url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...settings });
  context.setDefaultTimeout(LIMIT);
  const page = await context.newPage();
  const log = watch(page, name, url);
  const response = await page.goto(new URL(hash, url).href, { waitUntil: "load", timeout: LIMIT });
  assert(response.ok(), `${options.url} answered ${response.status()}`);
  return { page, log };
}

const noFindings = ({ log }) => assert(log.complaints.length === 0, log.complaints.slice(0, 5).join(" | "));

async function shoot(page, name) {
  if (!options.out) return;
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({ path: join(options.out, `${name}.png`), timeout: LIMIT });
}

async function run(browser) {
  let one, two, phone;

  await check("two pages open and move to websocket", async () => {
    one = await open(browser, "first page");
    await until(one.page, "the first page to be on websocket", isOpen, "websocket");
    assert(await one.page.getByRole("radio", { name: /webtransport/i }).isHidden(), "a transport is offered that the server does not have");
    two = await open(browser, "second page", { colorScheme: "dark" });
    await until(two.page, "the second page to be on websocket", isOpen, "websocket");
  });
  if (!one || !two) return;

  await check("the upgrade went by probe, and its steps are shown", async () => {
    for (const { page, log } of [one, two]) {
      assert(log.sockets.length === 1, `${log.sockets.length} websockets instead of one`);
      const [{ sent, received }] = log.sockets;
      assert(sent[0] === "2probe" && sent[1] === "5", `the client began with ${sent.slice(0, 2)}`);
      assert(received[0] === "3probe", `the server answered ${received[0]}`);
      const steps = await page.$$eval("#rail li", (items) => items.map((item) => item.dataset.status).join());
      assert(steps === "done,done,done,done", `steps are ${steps}`);
    }
  });

  await check("both pages count two clients", async () => {
    for (const { page } of [one, two]) await until(page, "#clients to be 2", () => document.querySelector("#clients").textContent === "2");
  });

  await check("the charts get points, and the numbers are shown", async () => {
    for (const { page } of [one, two]) {
      await until(page, "5 points in the chart", () => document.querySelector("#chart").dataset.points >= 5);
      for (const id of ["now", "median", "p99"]) {
        const text = await page.locator(`#${id}`).textContent();
        assert(/^\d+(\.\d+)?$/.test(text), `#${id} shows "${text}"`);
      }
      const painted = await page.$eval("#chart", (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte));
      assert(painted, "the canvas is empty");
    }
  });

  await check("a message arrives at the other page exactly as text", async () => {
    const text = `<b>hi</b> 😀 <img src=x onerror="document.title='bad'"> & "quotes"`;
    await one.page.fill("#message", text);
    await one.page.press("#message", "Enter");
    for (const { page } of [two, one]) {
      await until(page, "the message", (wanted) => document.querySelector("#messages li:last-child .text")?.textContent === wanted, text);
      assert((await page.locator("#messages li").count()) === 1, "the message arrived more than once");
      assert((await page.locator("#messages b, #messages img").count()) === 0, "the message was taken for HTML");
    }
    assert((await one.page.inputValue("#message")) === "", "the input was not cleared");
  });

  await check("messages keep their order, by the button as well", async () => {
    const texts = Array.from({ length: 10 }, (_, i) => `number ${i}`);
    for (const text of texts) {
      await two.page.fill("#message", text);
      await two.page.click("#send");
    }
    await until(one.page, "ten more messages", () => document.querySelectorAll("#messages li").length === 11);
    const got = await one.page.$$eval("#messages .text", (nodes) => nodes.slice(1).map((node) => node.textContent));
    assert(got.join() === texts.join(), `got ${got.join()}`);
    const visible = await one.page.$eval("#messages-box", (box) => box.scrollHeight - box.scrollTop - box.clientHeight);
    assert(visible <= 2, `the newest message is ${visible} px out of sight`);
  });

  await check("desktop: nothing overflows (light and dark pictures)", async () => {
    for (const [{ page }, name] of [[one, "desktop-light"], [two, "desktop-dark"]]) {
      await fits(page);
      await shoot(page, name);
    }
  });

  await check("a server that is no node shows none", async () => {
    assert(await one.page.locator("#nodes").isHidden(), "nodes are shown");
  });

  await check("no console errors and no failed requests", () => {
    noFindings(one);
    noFindings(two);
  });

  await check("closing one page makes the count 1 promptly", async () => {
    await two.page.context().close();
    await until(one.page, "#clients to be 1", () => document.querySelector("#clients").textContent === "1", null, 3_000);
  });

  await check("polling only: connects, and its chart moves", async () => {
    const sockets = one.log.sockets.length;
    await one.page.getByRole("radio", { name: /polling/i }).check({ force: true });
    await until(one.page, "polling", isOpen, "polling");
    await until(one.page, "points measured on polling", () => document.querySelector("#chart").dataset.series === "polling");
    const before = Number(await one.page.locator("#chart").getAttribute("data-latest"));
    await until(one.page, "8 more points", (n) => document.querySelector("#chart").dataset.latest >= n, before + 8);
    assert((await points(one.page)) >= 8, "too few points");
    assert(await one.page.evaluate(isOpen, "polling"), "left polling");
    assert(one.log.sockets.length === sockets, "opened a websocket nevertheless");
    assert(one.log.post.length >= 8, `only ${one.log.post.length} POSTs`);
    noFindings(one);
  });

  await check("polling only: two pages talk to each other", async () => {
    phone = await open(browser, "phone", { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }, "#polling");
    await until(phone.page, "polling", isOpen, "polling");
    for (const { page } of [one, phone]) await until(page, "#clients to be 2", () => document.querySelector("#clients").textContent === "2");
    await phone.page.fill("#message", "från en telefon – 電話から ☎️");
    await phone.page.click("#send");
    for (const { page } of [one, phone]) {
      await until(page, "the message from the phone", () => document.querySelector("#messages li:last-child .text")?.textContent === "från en telefon – 電話から ☎️");
    }
  });

  await check("websocket only: connects without any polling", async () => {
    const { page, log } = one;
    await page.getByRole("radio", { name: /websocket/i }).check({ force: true });
    await until(page, "websocket", isOpen, "websocket");
    const polls = log.post.length;
    await until(page, "points measured on websocket", () => document.querySelector("#chart").dataset.series === "websocket");
    const before = Number(await page.locator("#chart").getAttribute("data-latest"));
    await until(page, "4 more points", (n) => document.querySelector("#chart").dataset.latest >= n, before + 4);
    assert(log.post.length === polls, "something was posted");
    assert(log.sockets.at(-1).received[0]?.startsWith('0{"sid"'), "no handshake on the websocket");
    await until(page, "#clients to be 2 again", () => document.querySelector("#clients").textContent === "2");
    noFindings(one);
  });

  await check("leaving a polling page is noticed promptly", async () => {
    await phone.page.goto("about:blank", { timeout: LIMIT });
    await until(one.page, "#clients to be 1", () => document.querySelector("#clients").textContent === "1", null, 3_000);
  });
  await phone?.page.context().close();

  const visits = [];
  await check("phone: nothing overflows (light and dark pictures)", async () => {
    const schemes = ["light", "dark"];
    for (const colorScheme of schemes) {
      visits.push(await open(browser, `phone, ${colorScheme}`, { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme }));
    }
    for (const { page } of visits) {
      await until(page, "websocket", isOpen, "websocket");
      await until(page, "20 points", () => document.querySelector("#chart").dataset.points >= 20);
    }
    for (const [n, visit] of visits.entries()) {
      await one.page.fill("#message", `Hello, ${schemes[n]} phone`);
      await one.page.press("#message", "Enter");
      await until(visit.page, "the messages", (count) => document.querySelectorAll("#messages li").length === count, n + 1);
      await fits(visit.page);
      await shoot(visit.page, `phone-${schemes[n]}`);
      if (options.out) await visit.page.screenshot({ path: join(options.out, `phone-${schemes[n]}-full.png`), fullPage: true, timeout: LIMIT });
      await visit.page.setViewportSize({ width: 320, height: 640 });
      await fits(visit.page);
      noFindings(visit);
    }
  });
  // Outside the check, so that a failed one does not spoil the next.
  for (const { page } of visits) await page.context().close();

  await check("a lost connection is shown, and made again", async () => {
    const { page, log } = one;
    log.expected = true;
    // New connections fail while the network is off; the old one goes with the mode switch.
    await page.context().setOffline(true);
    await page.getByRole("radio", { name: /polling/i }).check({ force: true });
    await until(page, "the reconnecting state", () => document.body.dataset.state === "reconnecting" && !document.querySelector("#notice").hidden);
    assert(await page.locator("#send").isDisabled(), "the send button is not disabled");
    // Any but the first: the second one is shown for a second, in which a busy machine may not look.
    await until(page, "a second attempt", () => /attempt (?!1\))/.test(document.querySelector("#notice-text").textContent));
    await settle(page);
    await shoot(page, "desktop-reconnecting");
    await page.context().setOffline(false);
    await until(page, "polling", isOpen, "polling");
    assert(await page.locator("#notice").isHidden(), "the notice stays");
    await page.getByRole("radio", { name: /upgrade/i }).check({ force: true });
    await until(page, "websocket", isOpen, "websocket");
    await until(page, "#clients to be 1", () => document.querySelector("#clients").textContent === "1");
    // The server tells the number twice a second; only another one is worth a movement.
    await page.evaluate(() => {
      const clients = document.querySelector("#clients");
      clients.animate = () => (clients.dataset.moved = clients.textContent);
    });
    await until(page, "more points", (n) => document.querySelector("#chart").dataset.latest >= n, Number(await page.locator("#chart").getAttribute("data-latest")) + 8);
    const moved = await page.locator("#clients").getAttribute("data-moved");
    assert(moved === null, "the number of clients moves though it has not changed");
    await settle(page);
    await shoot(page, "desktop-compare");
    log.expected = false;
  });
}

async function runWebTransport(browser) {
  const visits = [];
  const visit = async (name, settings, hash) => {
    visits.push(await open(browser, name, settings, hash, options.webtransport));
    return visits.at(-1);
  };

  await check("webtransport: two pages move there, with every step shown", async () => {
    for (const [name, settings] of [["third page", {}], ["fourth page", { colorScheme: "dark" }]]) {
      const { page, log } = await visit(name, settings);
      await until(page, "webtransport", isOpen, "webtransport");
      assert(log.sockets.length === 0, "a websocket was opened too");
      const steps = await page.$$eval("#rail li", (items) => items.map((item) => `${item.firstChild.textContent} ${item.dataset.status}`).join());
      assert(steps === "Handshake done,Polling done,Probe done,WebTransport done", `steps are ${steps}`);
      assert((await page.locator("#transport").textContent()) === "WebTransport", "the transport is not named");
    }
  });
  const [one, two] = visits;
  if (!two) return;

  await check("webtransport: messages go both ways, and the chart gets points", async () => {
    const texts = ["hello over QUIC", "Grüße, 電話 ☎️", "x".repeat(500)];
    for (const text of texts) {
      await one.page.fill("#message", text);
      await one.page.press("#message", "Enter");
      for (const { page } of [two, one]) {
        await until(page, "the message", (wanted) => document.querySelector("#messages li:last-child .text")?.textContent === wanted, text);
      }
    }
    await until(one.page, "20 points", () => document.querySelector("#chart").dataset.series === "webtransport" && document.querySelector("#chart").dataset.points >= 20);
    for (const [{ page }, name] of [[one, "webtransport-light"], [two, "webtransport-dark"]]) {
      await settle(page);
      await fits(page);
      await shoot(page, name);
    }
  });

  await check("webtransport only: connects without any polling", async () => {
    const polls = one.log.post.length;
    await one.page.getByRole("radio", { name: /webtransport/i }).check({ force: true });
    await until(one.page, "webtransport", () => document.body.dataset.mode === "webtransport" && document.body.dataset.state === "open");
    const before = Number(await one.page.locator("#chart").getAttribute("data-latest"));
    await until(one.page, "4 more points", (n) => document.querySelector("#chart").dataset.latest >= n, before + 4);
    assert(await one.page.evaluate(isOpen, "webtransport"), "left webtransport");
    assert(one.log.post.length === polls, "something was posted");
    await until(two.page, "#clients to be 2", () => document.querySelector("#clients").textContent === "2");
  });

  await check("webtransport: the other transports work beside it", async () => {
    for (const name of ["websocket", "polling"]) {
      await one.page.locator(`#mode [value="${name}"]`).check({ force: true });
      await until(one.page, name, isOpen, name);
    }
    await until(two.page, "#clients to be 2", () => document.querySelector("#clients").textContent === "2");
  });

  await check("webtransport: a phone shows it too", async () => {
    const { page } = await visit("phone on webtransport", { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }, "#webtransport");
    await until(page, "webtransport", isOpen, "webtransport");
    await until(page, "20 points", () => document.querySelector("#chart").dataset.points >= 20);
    await fits(page);
    await shoot(page, "webtransport-phone");
    await page.setViewportSize({ width: 320, height: 640 });
    await fits(page);
  });

  await check("webtransport: no console errors, and pages that leave are noticed promptly", async () => {
    visits.forEach(noFindings);
    await two.page.context().close();
    await until(one.page, "#clients to be 2", () => document.querySelector("#clients").textContent === "2", null, 3_000);
  });
  for (const { page } of visits) await page.context().close();
}

// Lets short animations end, for the sake of the pictures.
const settle = (page) => page.waitForTimeout(700);

// No sideways scrolling, and no text cut off by its own box.
async function fits(page) {
  const { wide, cut, out } = await page.evaluate(() => {
    const right = (box) => box.getBoundingClientRect().right;
    const root = document.documentElement;
    const boxes = document.querySelectorAll("h1, .pill, .name, dt, dd, .rail li, .transport, .segmented span, #send, .legend li");
    return {
      wide: root.scrollWidth - root.clientWidth,
      cut: [...boxes].filter((box) => box.scrollWidth > box.clientWidth + 1 && box.clientWidth).map((box) => box.textContent.trim()),
      out: [...document.querySelectorAll(".segmented label")].filter((box) => right(box) > right(box.parentElement)).map((box) => box.textContent.trim()),
    };
  });
  assert(wide <= 0, `the page is ${wide} px too wide`);
  assert(cut.length === 0, `cut off: ${cut.join(", ")}`);
  assert(out.length === 0, `beyond its box: ${out.join(", ")}`);
}

await main(async (track) => {
  await run(track(await launch(options.chromium)));
  await runWebTransport(track(await launch(options.chromium, { quic: true })));
});
