// A page over WebTransport whose server is killed or stopped, and started again at the same address:
//
//   node restart.mjs --echo PATH [--chromium PATH]
//
// PATH is the example `echo`, which this starts itself.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { check, equal, launch, main, open, until, within } from "./support.mjs";

const { values } = parseArgs({ options: { echo: { type: "string" }, chromium: { type: "string", default: "/usr/bin/chromium" } } });
if (!values.echo) {
  console.error("missing: --echo");
  process.exit(2);
}

const QUICK = ["--ping-interval-ms", "300", "--ping-timeout-ms", "2000"];

/** A server at these ports, which are free ones if they are 0. */
async function start(ports = { tcp: 0, udp: 0 }) {
  const addresses = ["--listen", `127.0.0.1:${ports.tcp}`, "--webtransport", `127.0.0.1:${ports.udp}`];
  const child = spawn(values.echo, ["--host", "axum", ...addresses, "--origins", "any", ...QUICK], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NO_COLOR: "1" },
  });
  const server = { child, exited: once(child, "exit") };
  const listens = async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      const [, udp, hash] = /webtransport on \S+:(\d+), certificate (\w+)/.exec(line) ?? [];
      if (udp) Object.assign(server, { udp, hash });
      const [, tcp] = /listening on http:\/\/\S+?:(\d+)/.exec(line) ?? [];
      if (tcp) server.tcp = tcp;
      if (server.udp && server.tcp) break;
    }
    child.stdout.resume();
    return server;
  };
  return within(listens(), "the server to listen");
}

await main(async (track) => {
  const browser = track(await launch(values.chromium, { quic: true }));
  let server = await start();
  track({ close: () => server.child.kill("SIGKILL") });
  const page = await open(browser, `http://127.0.0.1:${server.tcp}/`);

  /** Opens a session, and sees it echo. */
  async function connect(text) {
    await page.evaluate(([port, hash]) => {
      const value = Uint8Array.from(hash.match(/../g), (digits) => parseInt(digits, 16));
      const webtransport = { port, serverCertificateHashes: [{ algorithm: "sha-256", value }] };
      window.connect({ transports: ["webtransport"], transportOptions: { webtransport } });
    }, [server.udp, server.hash]);
    await until(page, "the session", () => seen.opened);
    await page.evaluate((text) => client.send(text), text);
    await until(page, "the echo", (text) => seen.messages.includes(text), text);
  }

  async function restart() {
    await within(server.exited, "the server to exit");
    server = await start(server);
  }

  await check("a page notices a server that is stopped, and connects to the next one", async () => {
    await connect("before the stop");
    server.child.kill("SIGTERM");
    equal(await until(page, "the end", () => seen.closed), "transport close", "the reason");
    await restart();
    await connect("after the stop");
    await page.evaluate(() => client.close());
  });

  await check("a page notices a server that was killed, and connects to the next one", async () => {
    await connect("before the kill");
    server.child.kill("SIGKILL");
    await restart();
    await until(page, "the end", () => seen.closed);
    await connect("after the kill");
    await page.evaluate(() => client.close());
  });
});
