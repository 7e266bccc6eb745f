//! A client that the server tells why others are gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engineio_client::{Client, Handle, Transport};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::options::Options;
use crate::{PATIENCE, Run};

/// The interval at which the server is asked for its clients.
const ASK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Watcher {
    handle: Handle,
    reasons: Arc<Mutex<BTreeMap<String, u64>>>,
    /// The last answer to the question how many clients there are, and the number of the answer.
    count: watch::Receiver<(u64, u64)>,
    _reader: JoinHandle<()>,
}

impl Watcher {
    pub(crate) async fn connect(options: &Options) -> Result<Self, String> {
        let mut client = Client::builder(&options.url)
            .transports([Transport::WebSocket])
            // One line for each client that goes, at once when a crowd does.
            .inbox_limit(16 << 20)
            .connect()
            .await
            .map_err(|error| format!("cannot connect to {}: {error}", options.url))?;
        let handle = client.handle();
        let reasons = Arc::new(Mutex::new(BTreeMap::new()));
        let (said, count) = watch::channel((0, 0));
        let told = Arc::clone(&reasons);
        let _reader = tokio::spawn(async move {
            while let Some(message) = client.next().await {
                let text = message.as_text().unwrap_or_default();
                if let Some(count) = text.strip_prefix("watching ") {
                    let count = count.parse().unwrap_or(u64::MAX);
                    said.send_modify(|(known, answers)| (*known, *answers) = (count, *answers + 1));
                } else if let Some(gone) = text.strip_prefix("gone ") {
                    let reason = gone.split_once(' ').map_or("", |(_, reason)| reason);
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    *told.entry(reason.to_owned()).or_default() += 1;
                }
            }
        });
        let watcher = Self {
            handle,
            reasons,
            count,
            _reader,
        };
        watcher.ask().await?;
        Ok(watcher)
    }

    /// The number of clients of the server.
    async fn ask(&self) -> Result<u64, String> {
        let mut count = self.count.clone();
        count.mark_unchanged();
        let asked = self.handle.send("watch").await;
        asked.map_err(|_| "the watcher was disconnected".to_owned())?;
        match timeout(PATIENCE, count.changed()).await {
            Ok(Ok(())) => Ok(count.borrow().0),
            Ok(Err(_)) => Err("the watcher was disconnected".to_owned()),
            Err(_) => Err("the server does not answer its watcher".to_owned()),
        }
    }

    /// The clients that are gone, by the server's reasons.
    pub(crate) fn reasons(&self) -> BTreeMap<String, u64> {
        let reasons = self.reasons.lock();
        reasons.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of clients that have left.
    pub(crate) fn gone(&self) -> u64 {
        self.reasons().values().sum()
    }

    /// Waits until the server has no other client than this one: it must have given up all that are silent.
    pub(crate) async fn wait_until_alone(&self, run: &Run) {
        let end = Instant::now() + run.options.life + PATIENCE;
        loop {
            match self.ask().await {
                Ok(1) => return,
                Ok(_) if Instant::now() < end => sleep(ASK_EVERY).await,
                Ok(left) => {
                    let silent = left.saturating_sub(1);
                    return run
                        .report
                        .trouble(format!("{silent} sessions were left over"));
                }
                Err(trouble) => return run.report.trouble(trouble),
            }
        }
    }
}
