//! The policy for connecting again after a session ended, or after the first connection failed.

mod renewal;

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use engineio_core::{DisconnectReason, Transport};
use futures_core::future::BoxFuture;

pub use self::renewal::Renewal;
use crate::error::BoxError;
use crate::{Error, ErrorKind};

/// The shortest delay, so that no policy lets a client try without a pause.
const SHORTEST: Duration = Duration::from_millis(1);

/// Decides when and how often a client connects again. Without a policy, given to
/// [`ClientBuilder::reconnect`](crate::ClientBuilder::reconnect), it never does.
///
/// The delay (exponential back-off with jitter) doubles from attempt to attempt, up to a maximum, and is randomized so
/// that the clients of a restarted server do not all reconnect at once. A session that [lasts](Self::reset_after)
/// resets it. If the server asked for a longer delay by `Retry-After`, the client waits for that in addition, up to
/// [`max_retry_after`](Self::max_retry_after).
///
/// Messages that were queued when a session ended are not sent in the next one, because the server may expect other
/// messages first: they are handed back, to [`on_disconnect`](crate::ClientBuilder::on_disconnect) or by
/// [`Client::take_unsent`](crate::Client::take_unsent). Messages sent after that wait for the next session. Messages of
/// earlier sessions can still be read; while more than [`inbox_limit`](crate::ClientBuilder::inbox_limit) of them are
/// unread, no new session is opened, and nothing can be sent.
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
///     .unlimited_attempts()
///     .first_connection(true)
///     .on_failed_attempt(|failed| match failed.next_delay {
///         Some(delay) => println!("not connected; trying again in {delay:?}"),
///         None => println!("not connected; giving up"),
///     });
/// ```
#[derive(Clone)]
pub struct Reconnect {
    initial_delay: Duration,
    max_delay: Duration,
    /// `None` is without a limit.
    max_attempts: Option<u32>,
    jitter: f64,
    pub(crate) reset_after: Duration,
    max_retry_after: Duration,
    pub(crate) first_connection: bool,
    pub(crate) remember_upgrade: bool,
    retry_if: Option<RetryIf>,
    on_failed_attempt: Option<OnFailedAttempt>,
    renew: Option<Renew>,
}

/// Decides whether another attempt is worth while.
type RetryIf = Arc<dyn Fn(DisconnectReason, Option<&Error>) -> bool + Send + Sync>;

/// Called for attempts that failed.
type OnFailedAttempt = Arc<dyn Fn(&FailedAttempt) + Send + Sync>;

/// Asks the application for headers and query parameters.
type Renew = Arc<dyn Fn() -> BoxFuture<'static, Result<Renewal, BoxError>> + Send + Sync>;

/// A failed attempt to connect; given to the closure of [`Reconnect::on_failed_attempt`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FailedAttempt {
    /// The number of the attempt: 0 for the first connection, and from 1 for those that follow it or the end of a session.
    pub attempt: u32,
    /// The reason for which no session was opened.
    pub reason: DisconnectReason,
    /// The error of the attempt.
    pub error: Option<Error>,
    /// The delay before the next attempt, or `None` if the client gives up.
    pub next_delay: Option<Duration>,
}

/// The result of an attempt to connect: the end of the session that it opened, or the reason why it opened none.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The duration of the session, if there was one.
    pub(crate) lasted: Option<Duration>,
    pub(crate) reason: DisconnectReason,
    pub(crate) error: Option<Error>,
    /// The transport of the session when it ended, if that was not polling.
    pub(crate) link: Option<Transport>,
}

impl fmt::Debug for Reconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect")
            .field("initial_delay", &self.initial_delay)
            .field("max_delay", &self.max_delay)
            .field("max_attempts", &self.max_attempts)
            .field("jitter", &self.jitter)
            .field("reset_after", &self.reset_after)
            .field("max_retry_after", &self.max_retry_after)
            .field("first_connection", &self.first_connection)
            .field("remember_upgrade", &self.remember_upgrade)
            .field("retry_if", &self.retry_if.is_some())
            .field("on_failed_attempt", &self.on_failed_attempt.is_some())
            .field("renew", &self.renew.is_some())
            .finish()
    }
}

impl Reconnect {
    /// Creates the default policy: delays from 1 s to 30 s, randomized by half; ten attempts in a row; not for the
    /// first connection.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
            max_attempts: Some(10),
            jitter: 0.5,
            reset_after: Duration::from_secs(10),
            max_retry_after: Duration::from_secs(300),
            first_connection: false,
            remember_upgrade: false,
            retry_if: None,
            on_failed_attempt: None,
            renew: None,
        }
    }

    /// Sets the delay before the first attempt, at least 1 ms. Default: 1 s.
    #[must_use]
    pub const fn initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = delay;
        self
    }

    /// Sets the longest delay, at least 1 ms. Default: 30 s.
    #[must_use]
    pub const fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets the maximum number of attempts in a row, after which the client gives up. Default: 10, which take about
    /// three minutes.
    ///
    /// 0 means that it never reconnects, unlike in clients where 0 means no limit. For no limit, use
    /// [`unlimited_attempts`](Self::unlimited_attempts).
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Makes the client try until it is connected, closed or dropped, as Socket.IO's clients do.
    #[must_use]
    pub const fn unlimited_attempts(mut self) -> Self {
        self.max_attempts = None;
        self
    }

    /// Sets the fraction of a delay, from 0 to 1, by which it may be randomly longer or shorter. Default: 0.5. No delay
    /// exceeds the maximum; there, delays are only shortened, so that they still differ between clients.
    #[must_use]
    pub const fn jitter(mut self, part: f64) -> Self {
        // What is not a number fails every comparison.
        self.jitter = if part >= 0.0 { part.min(1.0) } else { 0.0 };
        self
    }

    /// Sets the time that a session must last to reset the delay and the number of attempts. Default: 10 s.
    ///
    /// A session that ends sooner counts as a failed attempt: the client thus waits longer and longer for a server that
    /// accepts it and drops it at once.
    #[must_use]
    pub const fn reset_after(mut self, duration: Duration) -> Self {
        self.reset_after = duration;
        self
    }

    /// Sets the longest time that a server may ask for by `Retry-After`, with a status such as 429 or 503, and that the client
    /// waits in addition to its delay. Default: 5 min. Zero ignores the header.
    #[must_use]
    pub const fn max_retry_after(mut self, most: Duration) -> Self {
        self.max_retry_after = most;
        self
    }

    /// Sets whether the policy applies to the first connection too: `connect` then returns once it has succeeded, or
    /// when the policy gives up. Default: no; an error of the first attempt is returned at once.
    #[must_use]
    pub const fn first_connection(mut self, first: bool) -> Self {
        self.first_connection = first;
        self
    }

    /// Sets whether a session begins by WebSocket or WebTransport if the previous one was on it when it ended. Default: no.
    ///
    /// This saves the upgrade. If it fails, the same attempt goes on with the configured transports. The option
    /// is `rememberUpgrade` of engine.io-client.
    #[must_use]
    pub const fn remember_upgrade(mut self, remember: bool) -> Self {
        self.remember_upgrade = remember;
        self
    }

    /// Decides whether the client reconnects, given the reason and the error of a session's end or of a failed attempt.
    ///
    /// Default: it does, unless an option cannot be used ([`ErrorKind::Invalid`]), or the server or the proxy has
    /// refused an attempt for its credentials (status 401, 403 or 407) and no [`renew`](Self::renew) brings new ones. A
    /// client that was closed by its application, or by a panic of the application's code, never reconnects.
    ///
    /// ```
    /// use engineio_client::{DisconnectReason, Reconnect};
    ///
    /// // The server knows why it closes a session.
    /// let policy = Reconnect::new().retry_if(|reason, _| reason != DisconnectReason::Server);
    /// ```
    #[must_use]
    pub fn retry_if<F>(mut self, decide: F) -> Self
    where
        F: Fn(DisconnectReason, Option<&Error>) -> bool + Send + Sync + 'static,
    {
        self.retry_if = Some(Arc::new(decide));
        self
    }

    /// Calls a closure for each failed attempt, with the delay before the next one, or without a delay if the client
    /// gives up.
    ///
    /// Not called for the first connection unless the policy [applies to it](Self::first_connection): `connect` returns
    /// that error. The closure runs in the task of the client and must not block.
    #[must_use]
    pub fn on_failed_attempt<F>(mut self, hear: F) -> Self
    where
        F: Fn(&FailedAttempt) + Send + Sync + 'static,
    {
        self.on_failed_attempt = Some(Arc::new(hear));
        self
    }

    /// Asks for headers and query parameters before each attempt but the first, for a token that expires for example.
    /// They replace those with the same names, for this session and later ones. Default: those of the builder for all
    /// sessions.
    ///
    /// The closure is called when the delay is over. If its future fails, or takes longer than
    /// [`request_timeout`](crate::ClientBuilder::request_timeout), the attempt has failed, with an error of the kind
    /// [`ErrorKind::Renewal`]. The future is dropped if the client is closed meanwhile.
    ///
    /// ```
    /// use engineio_client::{Reconnect, Renewal};
    /// # async fn token() -> Result<String, std::io::Error> { Ok(String::new()) }
    ///
    /// let policy = Reconnect::new()
    ///     .renew(|| async { Ok::<_, std::io::Error>(Renewal::new().bearer_auth(&token().await?)) });
    /// ```
    #[must_use]
    pub fn renew<F, Fut, E>(mut self, renew: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Renewal, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.renew = Some(Arc::new(move || {
            let fresh = renew();
            Box::pin(async move { fresh.await.map_err(Into::into) })
        }));
        self
    }

    /// Returns the headers and query parameters that the application wants to send from now on.
    pub(crate) async fn renewal(&self, limit: Duration) -> Result<Renewal, Error> {
        let Some(renew) = &self.renew else {
            return Ok(Renewal::new());
        };
        match tokio::time::timeout(limit, renew()).await {
            Ok(Ok(renewal)) => renewal.checked(),
            Ok(Err(source)) => {
                let message = "the application's `renew` failed; see the source of this error";
                Err(Error::new(ErrorKind::Renewal, message).with_source(source))
            }
            Err(_) => {
                let message = format!(
                    "the application's `renew` gave no answer within {limit:?}; raise `request_timeout` if it needs longer"
                );
                Err(Error::new(ErrorKind::Renewal, message))
            }
        }
    }

    /// Returns the delay before an attempt, counted from 1. `random` is in `0..1`.
    fn delay(&self, attempt: u32, random: f64) -> Duration {
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
        let first = self.initial_delay.max(SHORTEST);
        let delay = first.saturating_mul(factor).min(self.max_delay);
        // Spread below the maximum as well: cut off there, half of the clients of a restarted server would come at once.
        let widest = delay.as_secs_f64() * (1.0 + self.jitter);
        let highest = widest.min(self.max_delay.as_secs_f64());
        let lowest = delay.as_secs_f64() * (1.0 - self.jitter);
        let spread = Duration::try_from_secs_f64(lowest + (highest - lowest) * random);
        let spread = spread.unwrap_or(self.max_delay).min(self.max_delay);
        spread.max(SHORTEST)
    }

    /// Returns the delay before an attempt, counted from 1, after one with this outcome; `None` if the client gives up.
    pub(crate) fn next(&self, attempt: u32, outcome: &Outcome) -> Option<Duration> {
        let is_over = matches!(
            outcome.reason,
            DisconnectReason::Client | DisconnectReason::HandlerPanic
        );
        let is_last = self.max_attempts.is_some_and(|most| attempt > most);
        if is_over || is_last || !self.is_worthwhile(outcome) {
            return None;
        }
        let asked = outcome.error.as_ref().and_then(Error::retry_after);
        let asked = asked.unwrap_or_default().min(self.max_retry_after);
        Some(asked.saturating_add(self.delay(attempt, random())))
    }

    fn is_worthwhile(&self, outcome: &Outcome) -> bool {
        let error = outcome.error.as_ref();
        if let Some(decide) = &self.retry_if {
            return decide(outcome.reason, error);
        }
        let lacks_credentials = outcome.lasted.is_none()
            && self.renew.is_none()
            && matches!(error.and_then(Error::status), Some(401 | 403 | 407));
        let is_invalid = error.is_some_and(|error| error.kind() == ErrorKind::Invalid);
        !lacks_credentials && !is_invalid
    }

    /// Reports a failed attempt to the application.
    pub(crate) fn tell(&self, attempt: u32, outcome: &Outcome, next_delay: Option<Duration>) {
        if let Some(hear) = &self.on_failed_attempt {
            hear(&FailedAttempt {
                attempt,
                reason: outcome.reason,
                error: outcome.error.clone(),
                next_delay,
            });
        }
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a number in `0..1`, from the randomness of the standard library's hash keys: enough to spread clients in time.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
