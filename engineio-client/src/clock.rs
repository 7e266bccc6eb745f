//! The clock of the runtime, and the clock of a session, which goes on while the machine sleeps.

use std::time::{Duration, Instant, SystemTime};

/// The smallest difference between the two clocks that counts as sleep. A smaller one is a correction of the wall clock.
const SHORTEST_SLEEP: Duration = Duration::from_secs(1);

/// The longest sleep that one comparison adds, which is the longest possible heartbeat. When a wall clock is set, it may
/// jump by years.
const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);

/// Returns the current time of the runtime's clock, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The clock of a client's sessions: the runtime's clock, and the time for which the machine slept in addition.
///
/// The runtime's clock stands still while a laptop is suspended (on Linux, `CLOCK_MONOTONIC`), but the server's does not:
/// after a long sleep it has closed the session. engine.io-client compares with the wall clock for the same reason
/// (`_hasPingExpired`, 6.6.1).
#[derive(Debug)]
pub(crate) struct SessionClock {
    slept: Duration,
    /// The times of the runtime's clock and of the wall clock when they were last read.
    seen: (Instant, SystemTime),
}

impl SessionClock {
    pub(crate) fn new() -> Self {
        Self {
            slept: Duration::ZERO,
            seen: (now(), wall()),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        now() + self.slept
    }

    /// Returns the runtime's time at which this clock shows `at`.
    pub(crate) fn in_runtime(&self, at: Instant) -> Instant {
        at.checked_sub(self.slept).unwrap_or_else(now)
    }

    /// Compares the two clocks. Returns whether the machine has slept since the last comparison.
    pub(crate) fn look(&mut self) -> bool {
        self.compare(now(), wall())
    }

    fn compare(&mut self, now: Instant, wall: SystemTime) -> bool {
        let passed = now.saturating_duration_since(self.seen.0);
        // A wall clock that was set back says nothing about sleep.
        let by_wall = wall.duration_since(self.seen.1).unwrap_or_default();
        self.seen = (now, wall);
        let slept = by_wall.saturating_sub(passed).min(LONGEST_SLEEP);
        let has_slept = slept >= SHORTEST_SLEEP;
        if has_slept {
            self.slept = self.slept.saturating_add(slept).min(100 * LONGEST_SLEEP);
        }
        has_slept
    }
}

#[cfg(not(test))]
fn wall() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
use tests::wall;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{Client, DisconnectReason, Message, Transport};

    thread_local! {
        /// The time for which the machine of this thread's test has slept.
        static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    pub(super) fn wall() -> SystemTime {
        SystemTime::now() + SLEPT.get()
    }

    #[test]
    fn only_a_wall_clock_that_runs_ahead_counts_as_sleep() {
        let mut clock = SessionClock::new();
        let (start, wall) = clock.seen;
        let secs = Duration::from_secs;
        assert!(!clock.compare(start + secs(5), wall + secs(5)));
        assert!(
            !clock.compare(start + secs(6), wall - secs(100)),
            "set back"
        );
        assert!(!clock.compare(start + secs(7), wall - secs(99)));
        let adjusted = wall - secs(98) + Duration::from_millis(900);
        assert!(!clock.compare(start + secs(8), adjusted), "corrected");
        assert_eq!(clock.slept, Duration::ZERO);
        assert!(clock.compare(start + secs(9), adjusted + secs(61)));
        assert_eq!(clock.slept, secs(60));
        assert!(clock.compare(start + secs(10), wall + secs(1 << 40)));
        assert_eq!(clock.slept, secs(60) + LONGEST_SLEEP);
        assert_eq!(clock.in_runtime(start + clock.slept), start);
    }

    /// A server that answers the handshake and nothing after that.
    async fn silent_server() -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let open = r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
            let mut connections = Vec::new();
            while let Ok((mut tcp, _)) = listener.accept().await {
                if connections.is_empty() {
                    let _ = tcp.read(&mut [0; 4096]).await;
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", open.len());
                    tcp.write_all(format!("{head}{open}").as_bytes())
                        .await
                        .unwrap();
                }
                connections.push(tcp);
            }
        });
        url
    }

    #[tokio::test]
    async fn a_message_after_a_long_sleep_is_handed_back_and_not_sent_to_a_server_that_is_gone() {
        let builder = Client::builder(&silent_server().await).transports([Transport::Polling]);
        let client = builder.connect().await.unwrap();
        SLEPT.set(Duration::from_secs(44));
        tokio::time::timeout(Duration::from_millis(1), client.wait())
            .await
            .unwrap_err();
        assert!(client.is_open());
        SLEPT.set(Duration::from_secs(46));
        client.send("good morning").await.unwrap();
        client.wait().await;
        let reason = client.disconnect_reason();
        assert_eq!(reason, Some(DisconnectReason::PingTimeout));
        assert_eq!(client.take_unsent(), [Message::from("good morning")]);
    }
}
