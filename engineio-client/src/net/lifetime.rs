//! The lifetime of a session's connections: their tasks, which the HTTP library spawns, end with the session.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::sync::watch;

/// The time that connections have after the end of their session: for the last bytes of TLS, and for those that the
/// kernel takes at once. A server that does not read would keep them, and the message of a POST, for ever.
const GRACE: Duration = Duration::from_secs(1);

/// Keeps the connections of a session. Once it is dropped, they have [`GRACE`] to end.
#[derive(Clone, Debug)]
pub(super) struct Lifetime {
    /// No value is sent; the receivers notice that it is gone.
    _session: Arc<watch::Sender<()>>,
}

/// Spawns tasks that do not outlive a [`Lifetime`].
#[derive(Clone, Debug)]
pub(super) struct Tasks(watch::Receiver<()>);

impl Lifetime {
    pub(super) fn new() -> (Self, Tasks) {
        let (session, tasks) = watch::channel(());
        let this = Self {
            _session: Arc::new(session),
        };
        (this, Tasks(tasks))
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut session = self.0.clone();
        tokio::spawn(async move {
            let end = async {
                while session.changed().await.is_ok() {}
                tokio::time::sleep(GRACE).await;
            };
            tokio::select! {
                biased;
                () = task => {}
                () = end => {}
            }
        });
    }
}
