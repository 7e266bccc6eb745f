// The server pings; who does not answer is gone, who answers stays.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { letTimePass } from './bounded.mjs';
import { MODES, Peer } from './peer.mjs';
import { EIO3, QUICK } from './servers.mjs';

for (const [mode, options] of Object.entries(MODES)) {
  describe(`heartbeat, ${mode}`, { concurrency: true }, () => {
    test('a client that never answers pings is disconnected by the server', async (t) => {
      const peer = await Peer.open(t, QUICK, options);
      let pinged = false;
      peer.socket.on('ping', () => {
        pinged = true;
      });
      peer.withholdPongs();
      const { reason } = await peer.closed(3_000);
      assert.ok(pinged, 'the server closed without having sent a ping');
      // "ping timeout" would be the client giving up by itself, 300 ms after the server should have.
      assert.match(reason, /^transport (close|error)$/);
    });

    test('a client that answers pings lives for three seconds and more', async (t) => {
      // As frequent as those of `QUICK`, and patient with a machine that is busy for a moment.
      const peer = await Peer.open(t, EIO3, options);
      let pings = 0;
      peer.socket.on('ping', () => {
        pings += 1;
      });
      await letTimePass(3_000);
      assert.equal(peer.isClosed, false);
      // Ten intervals fit; a loaded machine may be late for some, but not for half of them.
      assert.ok(pings >= 5 && pings <= 10, `${pings} pings in 3 s at one in 300 ms`);
      assert.equal(await peer.ask('still here'), 'still here');
    });
  });
}
