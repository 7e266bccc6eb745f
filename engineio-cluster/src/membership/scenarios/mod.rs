//! The rules of the detector, one scenario each, with time as an argument.

mod hearing;
mod joining;
mod liveness;

use std::time::{Duration, Instant};

use super::announcement::{Announcement, Presence};
use super::detector::*;
use super::output::{Departure, Output, Refused};
use crate::NodeId;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

pub(super) fn announcement(name: &str, incarnation: u64, presence: Presence) -> Announcement {
    Announcement {
        id: id(name),
        incarnation,
        beat: 1,
        presence,
        address: format!("{name}:7000").into(),
        sessions: 0,
    }
}

/// The node `me`, its clock, and a bus that returns what it announces.
struct Node {
    detector: Detector,
    now: Instant,
    start: Instant,
    /// Whether its announcements come back.
    hears: bool,
    outputs: Vec<Output>,
}

const ME: u64 = 50;

impl Node {
    fn joining() -> Self {
        let start = Instant::now();
        Self {
            detector: Detector::new(start, id("me"), ME),
            now: start,
            start,
            hears: true,
            outputs: Vec::new(),
        }
    }

    fn up() -> Self {
        let mut node = Self::joining();
        node.pass(ms(1600));
        assert!(node.take().contains(&Output::Joined));
        node
    }

    /// Lets time pass, with all that is due in it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.follow();
            match self.detector.poll_timeout().filter(|next| *next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
            self.detector.handle_timeout(self.now);
        }
        self.now = end;
    }

    /// Collects outputs, and returns own announcements from the bus.
    fn follow(&mut self) {
        while let Some(output) = self.detector.poll_output() {
            if let Output::Announce { beat, presence } = output
                && self.hears
            {
                let mut own = announcement("me", ME, presence);
                own.beat = beat;
                self.detector.handle_announcement(self.now, &own);
            }
            self.outputs.push(output);
        }
    }

    fn hear(&mut self, name: &str, incarnation: u64, presence: Presence) {
        let heard = announcement(name, incarnation, presence);
        self.detector.handle_announcement(self.now, &heard);
        self.follow();
    }

    /// Lets time pass in which a node announces itself each second.
    fn pass_with(&mut self, name: &str, seconds: u64) {
        for _ in 0..seconds {
            self.pass(ms(1000));
            self.hear(name, 1, Presence::Up);
        }
    }

    /// Takes what happened, without the announcements.
    fn take(&mut self) -> Vec<Output> {
        self.follow();
        let mut outputs = std::mem::take(&mut self.outputs);
        outputs.retain(|output| !matches!(output, Output::Announce { .. }));
        outputs
    }

    fn announced(&mut self) -> usize {
        self.follow();
        let is_announcement = |output: &&Output| matches!(output, Output::Announce { .. });
        let count = self.outputs.iter().filter(is_announcement).count();
        self.outputs.clear();
        count
    }
}

fn alive(name: &str) -> Output {
    Output::Alive(announcement(name, 1, Presence::Up).member().unwrap())
}

fn gone(name: &str, departure: Departure) -> Output {
    Output::Gone(id(name), departure)
}
