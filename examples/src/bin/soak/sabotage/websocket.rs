//! Over WebSocket, and on the way there.

use std::time::Duration;

use tokio::time::timeout;

use super::{Outcome, Saboteur, expect, failed};
use crate::raw::{frame, frame_head};

impl Saboteur {
    pub(super) async fn reset_in_frame(&mut self) -> Outcome {
        let mut raw = self.connect().await?;
        raw.open_websocket()
            .await
            .map_err(failed("the handshake"))?;
        let frame = frame(1, b"4half of this will come");
        let cut = self.random.usize(1..frame.len());
        raw.send(&frame[..cut])
            .await
            .map_err(failed("half a frame"))?;
        raw.reset();
        Ok(())
    }

    pub(super) async fn reset_after_upgrade(&self) -> Outcome {
        let mut raw = self.connect().await?;
        let upgraded = raw.upgrade("EIO=4&transport=websocket").await;
        upgraded.map_err(failed("the handshake"))?;
        raw.reset();
        Ok(())
    }

    /// The session must live on by polling, and lose nothing.
    pub(super) async fn failed_upgrade(&self, instead: Option<&str>) -> Outcome {
        let mut polls = self.connect().await?;
        let query = polls.open().await.map_err(failed("the handshake"))?;
        let posted = polls
            .post(&query, "4before")
            .await
            .map_err(failed("a post"))?;
        expect(posted.status == 200, "a post is taken", posted)?;
        let mut websocket = self.connect().await?;
        let query_there = query.replace("polling", "websocket");
        websocket
            .upgrade(&query_there)
            .await
            .map_err(failed("the upgrade"))?;
        let probe = websocket.send(frame(1, b"2probe")).await;
        probe.map_err(failed("the probe"))?;
        let answer = websocket.frame().await.map_err(failed("the probe"))?;
        let is_pong = answer
            .as_ref()
            .is_some_and(|frame| frame.payload == b"3probe");
        expect(is_pong, "the probe is answered", answer)?;
        if let Some(packet) = instead {
            let sent = websocket.send(frame(1, packet.as_bytes())).await;
            sent.map_err(failed("the wrong packet"))?;
            websocket.ended().await;
        } else {
            websocket.reset();
        }
        let posted = polls
            .post(&query, "4after")
            .await
            .map_err(failed("a post afterwards"))?;
        expect(posted.status == 200, "a post is taken afterwards", posted)?;
        let mut heard = String::new();
        while !heard.contains("4after") {
            let response = polls
                .get(&query)
                .await
                .map_err(failed("a poll afterwards"))?;
            expect(
                response.status == 200,
                "a poll is answered afterwards",
                &response,
            )?;
            heard.push_str(&response.body);
        }
        let is_right =
            heard.matches("4before").count() == 1 && heard.matches("4after").count() == 1;
        expect(is_right, "each message came once", &heard)?;
        let left = polls.post(&query, "1").await.map_err(failed("the close"))?;
        expect(left.status == 200, "the close is taken", left)
    }

    pub(super) async fn bad_text_in_frame(&self) -> Outcome {
        let mut raw = self.connect().await?;
        raw.open_websocket()
            .await
            .map_err(failed("the handshake"))?;
        let sent = raw.send(frame(1, b"4\xff\xfe")).await;
        sent.map_err(failed("the frame"))?;
        let code = raw.closed().await;
        expect(code == Some(1007), "bad text is closed with 1007", code)
    }

    pub(super) async fn frame_too_large(&mut self) -> Outcome {
        let mut raw = self.connect().await?;
        raw.open_websocket()
            .await
            .map_err(failed("the handshake"))?;
        let length = if self.random.bool() {
            10_000_000
        } else {
            1 << 40
        };
        let sent = raw.send(frame_head(2, length)).await;
        sent.map_err(failed("the head of a frame"))?;
        let code = raw.closed().await;
        expect(
            code == Some(1009),
            "a large frame is closed with 1009",
            code,
        )
    }

    pub(super) async fn frame_without_mask(&self) -> Outcome {
        let mut raw = self.connect().await?;
        raw.open_websocket()
            .await
            .map_err(failed("the handshake"))?;
        let sent = raw.send(b"\x81\x024x").await;
        sent.map_err(failed("the frame"))?;
        let code = raw.closed().await;
        expect(
            code == Some(1002),
            "a frame without a mask is closed with 1002",
            code,
        )
    }

    /// Many pings, whose pongs are not read for a while.
    pub(super) async fn ping_flood(&self) -> Outcome {
        let mut raw = self.connect().await?;
        raw.open_websocket()
            .await
            .map_err(failed("the handshake"))?;
        let pings = frame(9, &[b'p'; 125]).repeat(1_000);
        // Not taken when its own pongs find no room: that is its right.
        let _ = timeout(Duration::from_millis(500), raw.send(pings)).await;
        raw.reset();
        Ok(())
    }

    /// Sends and does not read. The server must stop to take more, and drop the connection when its ping is not answered.
    pub(super) async fn never_reads(&self) -> Outcome {
        let mut raw = self.connect().await?;
        raw.open_websocket()
            .await
            .map_err(failed("the handshake"))?;
        let message = frame(2, &vec![7; 60_000]);
        let flood = async {
            for _ in 0..1_000 {
                raw.send(&message).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        // Twice, since the timeout may have begun before the outbox was full.
        match timeout(self.life * 2 + Duration::from_secs(5), flood).await {
            // That the session is over is seen at the end, when the server must have nobody left.
            _ if self.lingers => Ok(()),
            Ok(Ok(())) => Err("60 MB were taken that nobody reads".to_owned()),
            // It broke the connection off, as it must.
            Ok(Err(_)) => Ok(()),
            Err(_) => Err("the connection stays".to_owned()),
        }
    }
}
