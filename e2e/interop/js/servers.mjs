// Where the servers under test listen. `cargo xtask interop` starts them and says so in the
// environment; a missing address is an error, because a suite that finds no server must not pass.

const logs = new Map();

function required(name) {
  const url = process.env[name];
  if (!url) {
    throw new Error(`${name} is not set: run these tests with \`cargo xtask interop --only js\``);
  }
  const server = url.replace(/\/$/, '');
  logs.set(server, process.env[name.replace('_URL', '_LOG')]);
  return server;
}

/** The file in which `server` leaves a line for each poll that reaches its session. */
export const logOf = (server) => logs.get(server);

/** Default heartbeat (25 s / 20 s), and room for the base64 form of the largest binary message. */
export const ECHO = required('ECHO_URL');

/** Pings every 300 ms, waits 200 ms for the pong: what the official protocol suite asks for. */
export const QUICK = required('ECHO_QUICK_URL');

/** Takes bodies and frames of at most 1,000 bytes, so that going over it fits one TCP segment. */
export const SMALL = required('ECHO_SMALL_URL');

/** As `ECHO`, and compresses WebSocket messages from 1,024 bytes on for clients that agree to it. */
export const DEFLATE = required('ECHO_DEFLATE_URL');

/** Serves clients of revision 3 beside those of revision 4. Pings as often as `QUICK`, and waits 3 s for the pong. */
export const EIO3 = required('ECHO_EIO3_URL');

/** As `EIO3`, and waits as long as `QUICK`. */
export const EIO3_QUICK = required('ECHO_EIO3_QUICK_URL');
