//! The signals that end a task, so that its sessions can be closed and the terminal restored.

use std::time::Duration;

use tokio::time::sleep;

use crate::failure::SIGNAL;

/// The time that the program has to end after a second signal.
const PATIENCE: Duration = Duration::from_secs(1);

/// The numbers that POSIX gives them.
pub(crate) const SIGINT: u8 = 2;

#[cfg(unix)]
mod unix {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    use super::SIGINT;

    const SIGTERM: u8 = 15;

    #[derive(Debug)]
    pub(crate) struct Signals {
        interrupt: Signal,
        terminate: Signal,
    }

    impl Signals {
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }

        /// Returns the number of the next signal.
        pub(crate) async fn next(&mut self) -> u8 {
            tokio::select! {
                _ = self.interrupt.recv() => SIGINT,
                _ = self.terminate.recv() => SIGTERM,
            }
        }
    }
}

#[cfg(not(unix))]
mod other {
    use super::SIGINT;

    #[derive(Debug)]
    pub(crate) struct Signals;

    impl Signals {
        pub(crate) fn new() -> std::io::Result<Self> {
            Ok(Self)
        }

        pub(crate) async fn next(&mut self) -> u8 {
            match tokio::signal::ctrl_c().await {
                Ok(()) => SIGINT,
                Err(_) => std::future::pending().await,
            }
        }
    }
}

impl Signals {
    /// Waits for a future. A signal that comes before ends the wait, and its number is the error.
    pub(crate) async fn unless<T>(&mut self, future: impl Future<Output = T>) -> Result<T, u8> {
        tokio::select! {
            outcome = future => Ok(outcome),
            signal = self.next() => Err(signal),
        }
    }

    /// Starts to listen. A second after the second signal, the process ends however the program hangs, after `last`: the
    /// thread that is to take the signals may be writing to an output that nobody reads.
    pub(crate) fn listen(last: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let mut signals = Self::new()?;
        tokio::spawn(async move {
            signals.next().await;
            let signal = signals.next().await;
            sleep(PATIENCE).await;
            last();
            std::process::exit(i32::from(SIGNAL + signal));
        });
        Self::new()
    }
}

#[cfg(not(unix))]
pub(crate) use other::Signals;
#[cfg(unix)]
pub(crate) use unix::Signals;
