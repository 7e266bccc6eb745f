//! One byte after the other.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::{Outcome, Saboteur, expect, failed};
use crate::raw::{Raw, frame_head};

/// Between two bytes.
const PAUSE: Duration = Duration::from_millis(50);

/// The shortest time that a host gives a request head, which is that of actix-web.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

impl Saboteur {
    /// The host limits the time for a request head; this saboteur gives up first, unless it has to wait for a processor.
    pub(super) async fn slow_head(&self) -> Outcome {
        let mut raw = self.connect().await?;
        let began = Instant::now();
        let head = raw.head("GET", "EIO=4&transport=polling", "");
        for byte in head.bytes().take(40) {
            match raw.send([byte]).await {
                Err(_) if began.elapsed() >= HEAD_LIMIT => return Ok(()),
                sent => sent.map_err(failed("a byte of a head"))?,
            }
            sleep(PAUSE).await;
        }
        raw.reset();
        Ok(())
    }

    /// The session dies meanwhile, since it is not polled, and the request must wait no longer than that. The rest of the body may
    /// be read for a while behind the answer, so that a reset does not overtake it (RFC 9112 § 9.6).
    pub(super) async fn slow_body(&self) -> Outcome {
        let mut raw = self.connect().await?;
        let query = raw.open().await.map_err(failed("the handshake"))?;
        let head = raw.head("POST", &query, "content-length: 100000\r\n");
        raw.send(head).await.map_err(failed("the head"))?;
        self.dribble(&mut raw, Raw::answered).await?;
        raw.reset();
        Ok(())
    }

    /// Nor is a ping answered within the frame.
    pub(super) async fn slow_frame(&self) -> Outcome {
        let mut raw = self.connect().await?;
        raw.open_websocket()
            .await
            .map_err(failed("the handshake"))?;
        let head = frame_head(1, 100_000);
        raw.send(head)
            .await
            .map_err(failed("the head of a frame"))?;
        self.dribble(&mut raw, Raw::ended).await
    }

    /// Sends bytes until the server reacts to the end of the session, or some seconds after it should have.
    async fn dribble(&self, raw: &mut Raw, reaction: impl AsyncFn(&mut Raw)) -> Outcome {
        let end = Instant::now() + self.life + Duration::from_secs(10);
        while Instant::now() < end {
            // Data is read meanwhile.
            if timeout(PAUSE, reaction(raw)).await.is_ok() || raw.send(b"x").await.is_err() {
                return Ok(());
            }
        }
        expect(
            false,
            "the server reacts to the end of the session",
            "it did not",
        )
    }
}
