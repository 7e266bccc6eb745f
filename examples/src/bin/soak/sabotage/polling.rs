//! Over HTTP.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::{Outcome, Saboteur, expect, failed};

impl Saboteur {
    pub(super) async fn reset_in_head(&mut self) -> Outcome {
        let mut raw = self.connect().await?;
        let head = raw.head("GET", "EIO=4&transport=polling", "");
        let cut = self.random.usize(0..head.len());
        raw.send(&head[..cut])
            .await
            .map_err(failed("half a head"))?;
        raw.reset();
        Ok(())
    }

    pub(super) async fn reset_in_body(&mut self) -> Outcome {
        let mut raw = self.connect().await?;
        let query = raw.open().await.map_err(failed("the handshake"))?;
        let head = raw.head("POST", &query, "content-length: 10000\r\n");
        raw.send(head).await.map_err(failed("the head"))?;
        let body = vec![b'4'; self.random.usize(0..9_999)];
        raw.send(body).await.map_err(failed("half a body"))?;
        raw.reset();
        Ok(())
    }

    pub(super) async fn reset_poll(&mut self) -> Outcome {
        let mut raw = self.connect().await?;
        let query = raw.open().await.map_err(failed("the handshake"))?;
        let head = raw.head("GET", &query, "");
        raw.send(head).await.map_err(failed("the poll"))?;
        sleep(Duration::from_millis(self.random.u64(0..20))).await;
        raw.reset();
        Ok(())
    }

    pub(super) async fn reset_handshake(&self) -> Outcome {
        let mut raw = self.connect().await?;
        let head = raw.head("GET", "EIO=4&transport=polling", "");
        raw.send(head).await.map_err(failed("the head"))?;
        raw.reset();
        Ok(())
    }

    pub(super) async fn garbage(&mut self) -> Outcome {
        let mut raw = self.connect().await?;
        let len = self.random.usize(1..4_096);
        let mut bytes: Vec<u8> = (0..len).map(|_| self.random.u8(..)).collect();
        bytes.extend(b"\r\n\r\n");
        // It may have had enough before it has all.
        let _ = raw.send(bytes).await;
        match raw.response().await {
            Ok(response) => expect(response.status >= 400, "garbage is refused", response),
            Err(_) => Ok(()),
        }
    }

    pub(super) async fn silence(&mut self) -> Outcome {
        let raw = self.connect().await?;
        sleep(Duration::from_millis(self.random.u64(0..2_000))).await;
        drop(raw);
        Ok(())
    }

    /// Says that it has nothing more to say, while a poll waits. Hosts differ in what they make of it, see the scenarios;
    /// here it must not stay.
    pub(super) async fn half_close(&self) -> Outcome {
        let mut raw = self.connect().await?;
        let query = raw.open().await.map_err(failed("the handshake"))?;
        let head = raw.head("GET", &query, "");
        raw.send(head).await.map_err(failed("the poll"))?;
        raw.stream
            .shutdown()
            .await
            .map_err(failed("the half-close"))?;
        raw.ended().await;
        Ok(())
    }

    pub(super) async fn refused(&self, query: &str, code: u8) -> Outcome {
        let mut raw = self.connect().await?;
        let response = raw.get(query).await.map_err(failed("no answer"))?;
        let code = format!("\"code\":{code}");
        let is_right = response.status == 400 && response.body.contains(&code);
        expect(is_right, &format!("a refusal with {code}"), response)
    }

    pub(super) async fn bad_body(&self, body: &[u8]) -> Outcome {
        let mut raw = self.connect().await?;
        let query = raw.open().await.map_err(failed("the handshake"))?;
        let response = raw.post(&query, body).await.map_err(failed("no answer"))?;
        expect(response.status == 400, "a bad body is refused", response)
    }

    /// Announces much, and does not wait for the answer with the first part of it.
    pub(super) async fn too_large(&self, length: u64) -> Outcome {
        let mut raw = self.connect().await?;
        let query = raw.open().await.map_err(failed("the handshake"))?;
        let head = raw.head("POST", &query, &format!("content-length: {length}\r\n"));
        raw.send(head).await.map_err(failed("the head"))?;
        // More than is on its way when the server says no would meet a reset, and take the answer with it.
        let _ = raw.send([b'4'; 1_000]).await;
        let response = raw.response().await.map_err(failed("no answer"))?;
        expect(response.status == 413, "a large body is refused", response)
    }

    pub(super) async fn two_polls(&self) -> Outcome {
        let mut first = self.connect().await?;
        let mut second = self.connect().await?;
        let query = first.open().await.map_err(failed("the handshake"))?;
        let head = first.head("GET", &query, "");
        first.send(head).await.map_err(failed("the first poll"))?;
        // The two connections are not ordered: each may be the second one.
        let other = second
            .get(&query)
            .await
            .map_err(failed("the second poll"))?;
        let one = first.response().await.map_err(failed("the first poll"))?;
        let refused = [one.status, other.status]
            .iter()
            .filter(|status| **status == 400)
            .count();
        expect(refused >= 1, "one of two polls is refused", (one, other))
    }

    pub(super) async fn never_polls(&self) -> Outcome {
        let mut raw = self.connect().await?;
        raw.open().await.map_err(failed("the handshake"))?;
        Ok(())
    }

    /// The echoes wait for a poll that does not come: it must not be let in for ever.
    pub(super) async fn never_polls_but_posts(&self) -> Outcome {
        let mut raw = self.connect().await?;
        let query = raw.open().await.map_err(failed("the handshake"))?;
        let body = [b"4".as_slice(), &vec![b'x'; 64 << 10]].concat();
        for _ in 0..200 {
            match raw.post(&query, &body).await {
                Ok(response) if response.status == 200 => {}
                // The session has ended, and the request that was held back gets an answer.
                Ok(_) | Err(_) => return Ok(()),
            }
        }
        Err("12 MiB were taken that nobody fetches".to_owned())
    }
}
