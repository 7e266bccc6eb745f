//! A client that keeps to the protocol meets the server's session over a network that is slow and breaks: whatever
//! the order in which things happen, no message is lost, doubled or overtaken, and nothing hangs.

#[path = "../support/xorshift.rs"]
#[allow(dead_code, reason = "every test crate uses its part of the numbers")]
mod xorshift;

#[path = "../support/vigil.rs"]
mod vigil;

mod client;
mod server;
mod world;

use std::time::Duration;

use engineio_core::{Config, DisconnectReason, Packet};

use self::client::Client;
use self::server::Server;
use self::world::{Happening, World};
use self::xorshift::Xorshift;

/// The number of steps, unless the environment names another in `WALK_STEPS`.
const STEPS: usize = 1_000_000;

/// The end of a walk; only the first two are orderly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    ServerCloses,
    ClientCloses,
    ServerAborts,
    ClientErrs,
    PollIsAborted,
    WebSocketIsCut,
    ClientVanishes,
    /// It goes on to send, pongs too.
    ClientTakesNothing,
}

const ENDINGS: [Ending; 8] = [
    Ending::ServerCloses,
    Ending::ClientCloses,
    Ending::ServerAborts,
    Ending::ClientErrs,
    Ending::PollIsAborted,
    Ending::WebSocketIsCut,
    Ending::ClientVanishes,
    Ending::ClientTakesNothing,
];

struct Walk {
    world: World,
    server: Server,
    client: Client,
    ending: Ending,
    /// Why the session may end, once it may.
    reasons: Vec<DisconnectReason>,
    quiet: bool,
    /// The time by which everything must have arrived.
    patience: u64,
    steps: usize,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = Xorshift::new(seed);
        let ms = |millis: usize| Duration::from_millis(millis as u64);
        let config = Config {
            ping_interval: ms(600 + random.below(600)),
            ping_timeout: ms(2_500),
            upgrade_timeout: ms(2_000),
            close_timeout: ms(20_000),
            max_payload: [30, 200, 1_000_000][random.below(3)],
            max_poll_packets: [3, 16, usize::MAX][random.below(3)],
            outbox_limit: [0, 1_000, 3_000][random.below(3)],
            inbox_limit: [0, 300, 3_000][random.below(3)],
            ..Config::default()
        };
        let ending = ENDINGS[random.below(ENDINGS.len())];
        let impatient = random.one_in(4);
        let app_stalls_one_in = [100, 1_000_000][random.below(2)];
        let upgrades = !random.one_in(3);
        let by_websocket = random.one_in(5);
        // After which the official client gives up.
        let silence = config.ping_interval + config.ping_timeout;
        let mut walk = Self {
            world: World::new(random),
            server: Server::new(config, app_stalls_one_in),
            client: Client::new(impatient, silence.as_millis() as u64),
            ending,
            reasons: Vec::new(),
            quiet: false,
            patience: 0,
            steps: 0,
        };
        if by_websocket {
            let websocket = walk.client.open_websocket();
            walk.server.accept_websocket(&mut walk.world, websocket);
        } else {
            let get = walk.client.open_polling();
            walk.server.accept_polling(&mut walk.world, get);
        }
        let world = &mut walk.world;
        world.within(300, Happening::ServerSends);
        world.within(300, Happening::ClientSends);
        if upgrades {
            world.within(300, Happening::ClientUpgrades);
            world.within(300, Happening::WebSocketIsCut);
        }
        let quiet = 1_000 + world.random.below(4_000) as u64;
        world.at(quiet, Happening::Quiet);
        walk
    }

    /// Goes on until nothing is left to happen.
    fn run(&mut self) {
        loop {
            let deadline = self.server.deadline();
            match (self.world.next_time(), deadline) {
                (Some(next), Some(deadline)) if deadline < next => self.wake(deadline),
                (None, Some(deadline)) => self.wake(deadline),
                (None, None) => break,
                (Some(_), _) => {
                    if let Some(happening) = self.world.pop() {
                        self.step(happening);
                    }
                }
            }
            self.steps += 1;
            assert!(self.steps < 100_000, "the walk never ends");
            self.client.tick(&mut self.world);
            if let Some(reason) = self.server.session.closed() {
                assert!(self.reasons.contains(&reason), "closed for {reason:?}");
                if self.ending == Ending::ClientTakesNothing && !self.client.is_gone() {
                    // It does not take the end either.
                    self.client.vanish(&mut self.world);
                }
            }
        }
        self.server.check_the_end();
        match self.ending {
            // It polls no more, and its last POST waits for an application that is slow: that is borne, but not while the
            // outbox is full too. Nothing tells it from a client that never polls.
            Ending::ClientCloses | Ending::ClientErrs if self.was_given_up() => {
                assert!(self.server.was_full, "a slow application is borne");
            }
            Ending::ServerCloses => {
                assert!(self.client.was_closed, "the client was told");
                assert!(self.world.to_client.all_arrived(), "what was queued");
            }
            // It has stopped to poll, and so filled its outbox: its last words may wait for an application that waits for
            // it, which must end.
            Ending::ClientCloses | Ending::ClientErrs
                if self.server.app_heard == Some(DisconnectReason::PingTimeout) =>
            {
                assert!(self.server.was_full);
            }
            Ending::ClientCloses => {
                assert!(!self.client.was_refused, "a poll that the close overtook");
                assert!(self.world.to_server.all_arrived(), "what was sent");
            }
            Ending::ClientErrs => {
                assert!(self.world.to_server.all_arrived(), "what was sent before");
            }
            _ => {}
        }
        assert!(self.client.is_gone());
    }

    fn was_given_up(&self) -> bool {
        self.server.session.closed() == Some(DisconnectReason::PingTimeout)
    }

    fn wake(&mut self, deadline: u64) {
        self.world.now = self.world.now.max(deadline);
        self.server.wake(&mut self.world);
    }

    fn step(&mut self, happening: Happening) {
        use Happening as H;
        let world = &mut self.world;
        match happening {
            H::ServerSends => {
                if !self.quiet && self.server.session.is_open() {
                    self.server.send(world);
                }
                self.again(40, H::ServerSends);
            }
            H::ClientSends => {
                if self.server.is_blocked {
                    self.client.babble(world);
                } else if !self.quiet {
                    // Now and then far more at once than an inbox takes.
                    let burst = [1, 100][usize::from(world.random.one_in(50))];
                    for _ in 0..burst {
                        self.client.send(world);
                    }
                }
                self.again(60, H::ClientSends);
            }
            H::ClientUpgrades => {
                self.client.begin_upgrade(world);
                self.again(2_000, H::ClientUpgrades);
            }
            H::WebSocketIsCut => {
                if self.client.is_upgrading() {
                    self.client.lose_websocket(world);
                }
                self.again(1_500, H::WebSocketIsCut);
            }
            H::Quiet => {
                self.quiet = true;
                self.patience = world.now + 200_000;
                world.at(world.now + 5_000, H::Settled);
            }
            H::Settled => {
                let settled = world.to_client.all_arrived() && world.to_server.all_arrived();
                if !settled && world.now < self.patience {
                    world.at(world.now + 1_000, H::Settled);
                    return;
                }
                assert!(world.to_client.all_arrived(), "lost on the way out");
                assert!(world.to_server.all_arrived(), "lost on the way in");
                self.quiet = world.random.one_in(2);
                world.within(1_500, H::End);
            }
            H::End => self.end(),
            H::GetDone(..)
            | H::PostDone(..)
            | H::WebSocketOpen(_)
            | H::FrameOut(..)
            | H::WebSocketClosed(_) => self.client.handle(world, happening),
            happening => self.server.handle(world, happening),
        }
    }

    /// A source goes on for as long as there is a session.
    fn again(&mut self, pause: usize, source: Happening) {
        if self.server.session.closed().is_none() && !self.client.is_gone() {
            self.world.within(pause, source);
        }
    }

    fn end(&mut self) {
        let Self {
            world,
            server,
            client,
            ..
        } = self;
        match self.ending {
            Ending::ServerCloses => {
                server.close(world);
                client.wait_for_ever();
                self.reasons = vec![DisconnectReason::Server];
            }
            Ending::ClientCloses => {
                client.close(Packet::Close);
                self.reasons = vec![DisconnectReason::Client, DisconnectReason::PingTimeout];
            }
            Ending::ClientErrs => {
                client.close(Packet::ping());
                self.reasons = vec![
                    DisconnectReason::TransportError,
                    DisconnectReason::PingTimeout,
                ];
            }
            Ending::ServerAborts => {
                server.abort(world);
                self.reasons = vec![DisconnectReason::Shutdown];
            }
            Ending::PollIsAborted => {
                client.abort_get(world);
                self.reasons = vec![
                    DisconnectReason::TransportError,
                    // The poll may just have been answered, or not have come yet.
                    DisconnectReason::PingTimeout,
                ];
            }
            Ending::WebSocketIsCut => {
                client.lose_websocket(world);
                if !client.is_gone() {
                    client.vanish(world);
                }
                self.reasons = vec![
                    DisconnectReason::TransportClose,
                    // There may have been no WebSocket, or no upgrade yet in the eyes of the server.
                    DisconnectReason::PingTimeout,
                ];
            }
            Ending::ClientVanishes => {
                client.vanish(world);
                self.reasons = vec![DisconnectReason::PingTimeout];
            }
            Ending::ClientTakesNothing => {
                server.is_blocked = true;
                client.wait_for_ever();
                self.reasons = vec![
                    DisconnectReason::PingTimeout,
                    DisconnectReason::SlowConsumer,
                ];
            }
        }
    }
}

/// Tells which walk failed.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the walk with seed {} failed", self.0);
        }
    }
}

#[test]
fn whatever_happens_no_message_is_lost_doubled_or_overtaken_and_nothing_hangs() {
    let wanted = std::env::var("WALK_STEPS").map_or(STEPS, |steps| steps.parse().unwrap());
    let mut steps = 0;
    let mut seeds = 0..;
    let mut ended = std::collections::HashMap::new();
    let mut upgraded = 0;
    while steps < wanted {
        let seed = Seed(seeds.next().unwrap());
        let mut walk = Walk::new(seed.0);
        walk.run();
        steps += walk.steps;
        *ended.entry(walk.server.app_heard).or_insert(0) += 1;
        upgraded += usize::from(walk.server.upgraded);
    }
    // The walk must lead everywhere, or it proves little.
    for reason in [
        DisconnectReason::Server,
        DisconnectReason::Client,
        DisconnectReason::Shutdown,
        DisconnectReason::TransportError,
        DisconnectReason::TransportClose,
        DisconnectReason::PingTimeout,
        DisconnectReason::SlowConsumer,
    ] {
        assert!(ended.contains_key(&Some(reason)), "never {reason:?}");
    }
    assert!(upgraded > 10, "{upgraded} upgrades");
    println!("{steps} steps, {} walks, {ended:?}", seeds.start);
}
