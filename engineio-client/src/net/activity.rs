//! The last activity on a connection, which distinguishes one that the server had closed from one that broke.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use hyper_util::client::legacy::Error;

/// Nothing was written yet.
const FRESH: u8 = 0;
/// The first request was begun, and nothing has come back.
const FIRST: u8 = 1;
/// The last transfer was a read.
const ANSWERED: u8 = 2;
/// A later request was begun, and nothing has come back.
const KEPT: u8 = 3;

/// Shared by a connection and those who ask about it.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<AtomicU8>);

impl Activity {
    pub(super) fn wrote(&self) {
        match self.0.load(Ordering::Relaxed) {
            FRESH => self.0.store(FIRST, Ordering::Relaxed),
            ANSWERED => self.0.store(KEPT, Ordering::Relaxed),
            _ => {}
        }
    }

    pub(super) fn read(&self) {
        if self.0.load(Ordering::Relaxed) != ANSWERED {
            self.0.store(ANSWERED, Ordering::Relaxed);
        }
    }

    /// Returns whether a failed request went to a connection that had served one before, and not a byte of an answer came.
    pub(super) fn was_kept(error: &Error) -> bool {
        let mut extensions = http::Extensions::new();
        if let Some(connected) = error.connect_info() {
            connected.get_extras(&mut extensions);
        }
        let activity = extensions.get::<Self>();
        activity.is_some_and(|activity| activity.0.load(Ordering::Relaxed) == KEPT)
    }
}
