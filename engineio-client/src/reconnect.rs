//! The policy for reconnecting after a session ended.

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use engineio_core::DisconnectReason;
use futures_core::future::BoxFuture;
use http::HeaderMap;

/// Decides when and how often a client opens a new session after one has ended. Without a policy, given to
/// [`ClientBuilder::reconnect`](crate::ClientBuilder::reconnect), it never does.
///
/// The delay (exponential back-off with jitter) doubles from attempt to attempt, up to a maximum, and is spread at random so that the clients of a server
/// that was restarted do not all come at once. A session that was opened resets it. What was not sent when a session
/// ended is dropped, because nobody knows how much of it the server has seen; what is sent after that waits for the next
/// session. The first connection is never repeated. Messages of earlier sessions can still be read; while more than
/// [`inbox_limit`](crate::ClientBuilder::inbox_limit) of them wait for that, no new session is opened, and nothing can be sent.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use engineio_client::Reconnect;
///
/// let policy = Reconnect::new()
///     .initial_delay(Duration::from_millis(500))
///     .max_delay(Duration::from_secs(10))
///     .max_attempts(5);
/// ```
#[derive(Clone)]
pub struct Reconnect {
    initial_delay: Duration,
    max_delay: Duration,
    max_attempts: u32,
    jitter: f64,
    renew: Option<Renew>,
}

/// Asks the application for headers.
type Renew = Arc<dyn Fn() -> BoxFuture<'static, HeaderMap> + Send + Sync>;

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect")
            .field("initial_delay", &self.initial_delay)
            .field("max_delay", &self.max_delay)
            .field("max_attempts", &self.max_attempts)
            .field("jitter", &self.jitter)
            .field("renew_headers", &self.renew.is_some())
            .finish()
    }
}

impl Reconnect {
    /// One second at first, at most 30 s, ten attempts in a row, spread by half.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
            max_attempts: 10,
            jitter: 0.5,
            renew: None,
        }
    }

    /// The delay before the first attempt.
    #[must_use]
    pub const fn initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = delay;
        self
    }

    /// The longest delay.
    #[must_use]
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// After how many failures in a row the client gives up.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// The part of a delay by which it may be longer or shorter at random, from 0 to 1.
    #[must_use]
    pub const fn jitter(mut self, part: f64) -> Self {
        // What is not a number fails every comparison.
        self.jitter = if part >= 0.0 { part.min(1.0) } else { 0.0 };
        self
    }

    /// Asks for headers before each new session, for a token that expires for example. They take the place of those of the
    /// same names, for this session and those after it; an empty map leaves everything as it was. Default: the headers of
    /// the builder for all sessions.
    ///
    /// An answer that takes longer than [`request_timeout`](crate::ClientBuilder::request_timeout) is not waited for. The
    /// closure is called when the delay is over, and its future is dropped if the client is closed meanwhile.
    ///
    /// ```
    /// use engineio_client::Reconnect;
    /// use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
    /// # async fn token() -> String { String::new() }
    ///
    /// let policy = Reconnect::new().renew_headers(|| async {
    ///     let mut headers = HeaderMap::new();
    ///     if let Ok(value) = HeaderValue::try_from(format!("Bearer {}", token().await)) {
    ///         headers.insert(AUTHORIZATION, value);
    ///     }
    ///     headers
    /// });
    /// ```
    #[must_use]
    pub fn renew_headers<F, Fut>(mut self, renew: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HeaderMap> + Send + 'static,
    {
        self.renew = Some(Arc::new(move || Box::pin(renew())));
        self
    }

    /// The headers that the application wants from now on; none if it does not say.
    pub(crate) async fn renewed(&self) -> HeaderMap {
        match &self.renew {
            Some(renew) => renew().await,
            None => HeaderMap::new(),
        }
    }

    /// The delay before an attempt, counted from 1; `None` if there is to be none. `random` is in `0..1`.
    fn delay(&self, attempt: u32, random: f64) -> Option<Duration> {
        if attempt > self.max_attempts {
            return None;
        }
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let delay = self
            .initial_delay
            .saturating_mul(factor)
            .min(self.max_delay);
        // Spread below the maximum as well: cut off there, half of the clients of a restarted server would come at once.
        let widest = delay.as_secs_f64() * (1.0 + self.jitter);
        let highest = widest.min(self.max_delay.as_secs_f64());
        let lowest = delay.as_secs_f64() * (1.0 - self.jitter);
        let spread = Duration::try_from_secs_f64(lowest + (highest - lowest) * random);
        Some(spread.unwrap_or(self.max_delay).min(self.max_delay))
    }

    /// The delay before the next attempt, or `None` if the client stays away.
    pub(crate) fn next(&self, attempt: u32, reason: DisconnectReason) -> Option<Duration> {
        match reason {
            DisconnectReason::Client | DisconnectReason::HandlerPanic => None,
            _ => self.delay(attempt, random()),
        }
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::new()
    }
}

/// In `0..1`, from the randomness of the standard library's hash keys: enough to spread clients in time.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_end() {
        let policy = Reconnect::new().jitter(0.0).max_attempts(7);
        let delays: Vec<u64> = (1..)
            .map_while(|attempt| Some(policy.delay(attempt, 0.5)?.as_secs()))
            .collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn delays_are_spread() {
        let policy = Reconnect::new();
        assert_eq!(policy.delay(1, 0.0), Some(Duration::from_millis(500)));
        assert_eq!(policy.delay(1, 0.5), Some(Duration::from_secs(1)));
        // At the maximum they are spread below it.
        assert_eq!(policy.delay(9, 0.0), Some(Duration::from_secs(15)));
        assert_eq!(policy.delay(9, 0.5), Some(Duration::from_millis(22_500)));
        assert_eq!(
            policy.max_attempts(u32::MAX).delay(u32::MAX, 0.5),
            Some(Duration::from_millis(22_500))
        );
        assert!((0..100).all(|_| (0.0..1.0).contains(&random())));
    }

    #[test]
    fn who_left_stays_away() {
        assert_eq!(Reconnect::new().next(1, DisconnectReason::Client), None);
        assert!(Reconnect::new().next(1, DisconnectReason::Server).is_some());
    }
}
