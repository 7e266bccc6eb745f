//! The signals that end a task, so that its sessions can be closed and the terminal restored.

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
        pub(crate) fn listen() -> std::io::Result<Self> {
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
        pub(crate) fn listen() -> std::io::Result<Self> {
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

#[cfg(not(unix))]
pub(crate) use other::Signals;
#[cfg(unix)]
pub(crate) use unix::Signals;
