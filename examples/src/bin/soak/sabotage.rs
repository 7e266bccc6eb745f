//! Clients that do what no client should, and what the server must make of it.

mod polling;
mod slow;
mod websocket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::raw::Raw;
use crate::{PATIENCE, Run};

/// The parameters of a saboteur.
#[derive(Debug)]
struct Saboteur {
    address: String,
    random: fastrand::Rng,
    /// When the server has given up whoever is silent.
    life: Duration,
    lingers: bool,
}

/// `Ok` if the server did what it must.
type Outcome = Result<(), String>;

/// Every way to misbehave. Those that take the server's patience come once each, and are rare for that.
#[derive(Clone, Copy, Debug)]
enum Sabotage {
    ResetInHead,
    ResetInBody,
    ResetPoll,
    ResetHandshake,
    ResetInFrame,
    ResetAfterUpgrade,
    Garbage,
    Silence,
    HalfClose,
    UnknownSid,
    BadRevision,
    BadPacket,
    BadTextInBody,
    BodyTooLarge,
    BodyOfTenGigabytes,
    TwoPolls,
    FailedUpgrade,
    WrongUpgrade,
    BadTextInFrame,
    FrameTooLarge,
    FrameWithoutMask,
    PingFlood,
    NeverPolls,
    NeverPollsButPosts,
    NeverReads,
    SlowHead,
    SlowBody,
    SlowFrame,
}

const ALL: &[(Sabotage, &str)] = &[
    (Sabotage::ResetInHead, "reset in a head"),
    (Sabotage::ResetInBody, "reset in a body"),
    (Sabotage::ResetPoll, "reset of a poll"),
    (Sabotage::ResetHandshake, "reset of a handshake"),
    (Sabotage::ResetInFrame, "reset in a frame"),
    (Sabotage::ResetAfterUpgrade, "reset after 101"),
    (Sabotage::Garbage, "garbage"),
    (Sabotage::Silence, "silence"),
    (Sabotage::HalfClose, "half-close"),
    (Sabotage::UnknownSid, "unknown sid"),
    (Sabotage::BadRevision, "bad revision"),
    (Sabotage::BadPacket, "bad packet"),
    (Sabotage::BadTextInBody, "bad UTF-8 in a body"),
    (Sabotage::BodyTooLarge, "body too large"),
    (Sabotage::BodyOfTenGigabytes, "body of 10 GB"),
    (Sabotage::TwoPolls, "two polls"),
    (Sabotage::FailedUpgrade, "failed upgrade"),
    (Sabotage::WrongUpgrade, "wrong upgrade"),
    (Sabotage::BadTextInFrame, "bad UTF-8 in a frame"),
    (Sabotage::FrameTooLarge, "frame too large"),
    (Sabotage::FrameWithoutMask, "frame without a mask"),
    (Sabotage::PingFlood, "ping flood"),
    (Sabotage::NeverPolls, "never polls"),
    (Sabotage::NeverPollsButPosts, "posts and never polls"),
    (Sabotage::NeverReads, "never reads"),
    (Sabotage::SlowHead, "slow head"),
    (Sabotage::SlowBody, "slow body"),
    (Sabotage::SlowFrame, "slow frame"),
];

/// Misbehaves until the time is over.
pub(crate) async fn go_on(run: Arc<Run>, number: u64) {
    let mut saboteur = Saboteur {
        address: run.options.address().to_owned(),
        // Others than those of the clients.
        random: run.options.random(1_000_000 + number),
        life: run.options.life,
        lingers: run.options.lingers,
    };
    // All of them, and each saboteur in another order.
    let mut order: Vec<_> = ALL.to_vec();
    while !run.is_over() {
        saboteur.random.shuffle(&mut order);
        for (sabotage, name) in &order {
            if run.is_over() {
                return;
            }
            let limit = PATIENCE + run.options.life;
            let outcome = match timeout(limit, saboteur.act(*sabotage)).await {
                Ok(outcome) => outcome,
                Err(_) => Err("the server does not end it".to_owned()),
            };
            run.report.sabotage(name);
            if let Err(trouble) = outcome {
                run.report.trouble(format!("{name}: {trouble}"));
            }
            sleep(Duration::from_millis(saboteur.random.u64(0..100))).await;
        }
    }
}

impl Saboteur {
    async fn act(&mut self, sabotage: Sabotage) -> Outcome {
        match sabotage {
            Sabotage::ResetInHead => self.reset_in_head().await,
            Sabotage::ResetInBody => self.reset_in_body().await,
            Sabotage::ResetPoll => self.reset_poll().await,
            Sabotage::ResetHandshake => self.reset_handshake().await,
            Sabotage::ResetInFrame => self.reset_in_frame().await,
            Sabotage::ResetAfterUpgrade => self.reset_after_upgrade().await,
            Sabotage::Garbage => self.garbage().await,
            Sabotage::Silence => self.silence().await,
            Sabotage::HalfClose => self.half_close().await,
            Sabotage::UnknownSid => self.refused("EIO=4&transport=polling&sid=nobody", 1).await,
            Sabotage::BadRevision => self.refused("EIO=9&transport=polling", 5).await,
            Sabotage::BadPacket => self.bad_body(b"4fine\x1eQ").await,
            Sabotage::BadTextInBody => self.bad_body(b"4\xff\xfe").await,
            Sabotage::BodyTooLarge => self.too_large(10_000_000).await,
            Sabotage::BodyOfTenGigabytes => self.too_large(10_000_000_000).await,
            Sabotage::TwoPolls => self.two_polls().await,
            Sabotage::FailedUpgrade => self.failed_upgrade(None).await,
            Sabotage::WrongUpgrade => self.failed_upgrade(Some("4not the upgrade packet")).await,
            Sabotage::BadTextInFrame => self.bad_text_in_frame().await,
            Sabotage::FrameTooLarge => self.frame_too_large().await,
            Sabotage::FrameWithoutMask => self.frame_without_mask().await,
            Sabotage::PingFlood => self.ping_flood().await,
            Sabotage::NeverPolls => self.never_polls().await,
            Sabotage::NeverPollsButPosts => self.never_polls_but_posts().await,
            Sabotage::NeverReads => self.never_reads().await,
            Sabotage::SlowHead => self.slow_head().await,
            Sabotage::SlowBody => self.slow_body().await,
            Sabotage::SlowFrame => self.slow_frame().await,
        }
    }

    /// A new connection; a server that does not accept has failed.
    async fn connect(&self) -> Result<Raw, String> {
        Raw::connect(&self.address)
            .await
            .map_err(failed("cannot connect"))
    }
}

/// An error with what it means.
fn failed(what: &str) -> impl Fn(io::Error) -> String {
    move |error| format!("{what}: {error}")
}

/// Describes the expectation and the result.
fn expect(expected: bool, what: &str, found: impl std::fmt::Debug) -> Outcome {
    if expected {
        Ok(())
    } else {
        Err(format!("{what}, but {found:?}"))
    }
}
