//! One session and its network: does what the session asks for, and reports to it what happens.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use engineio_core::client::{Input, Output, RequestId, Session};
use engineio_core::driver::Budget;
use engineio_core::{DisconnectReason, LinkId, Transport};

use super::alarm::Alarm;
use super::give_way;
use super::links::Links;
use super::requests::{Pending, Requests};
use super::verdict::{Verdict, upgrade_failure};
use crate::clock::now;
use crate::delivery::Event;
use crate::log::TARGET;
use crate::net::route::Route;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::state::Phase;
use crate::wakers::{BATCH, Interest};
use crate::{Error, ErrorKind, meter};

pub(super) struct Connection<'a> {
    shared: &'a Arc<Shared>,
    settings: &'a Settings,
    route: Route,
    polls: Requests,
    posts: Requests,
    links: Links,
    /// Abandoned requests that must still be dropped, like the openings in `links`.
    given_up: Vec<Pending>,
    alarm: Alarm,
    /// The transport that opens the session.
    opened_by: Transport,
    was_open: bool,
    /// The session was upgrading when it was last looked at.
    was_upgrading: bool,
    /// The transport by which a link was asked for last.
    tried: Transport,
    /// The error of the upgrade, if an error caused its failure.
    upgrade_error: Option<Error>,
    verdict: Verdict,
    finished: bool,
}

impl<'a> Connection<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, settings: &'a Settings) -> Self {
        Self {
            shared,
            settings,
            route: settings.route.for_session(),
            polls: Requests::default(),
            posts: Requests::default(),
            links: Links::default(),
            given_up: Vec::new(),
            alarm: Alarm::new(),
            opened_by: shared.lock().session.transport(),
            was_open: false,
            was_upgrading: false,
            tried: Transport::WebSocket,
            upgrade_error: None,
            verdict: Verdict::default(),
            finished: false,
        }
    }

    /// Returns the error to report for the session that has ended, or `None` if one of the sides closed it gracefully.
    pub(super) fn error(&self, session: &Session) -> Option<Error> {
        let secrets = self.route.secrets(Some(session));
        let place = self.route.place(&secrets);
        self.verdict.error(session, self.was_open, &place, &secrets)
    }

    /// Makes as much progress as it can; ready when the session is over and its links have been closed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (mut rounds, mut frames) = (Budget::for_rounds(), Budget::for_frames());
        if self.shared.lock().clock.look() {
            self.polls.close_kept();
            self.posts.close_kept();
            // After a sleep nothing is sent before it is known whether the server is still there.
            let _ =
                self.poll_requests(cx) | self.poll_sockets(cx, &mut frames) | self.poll_timer(cx);
        }
        let mut more = true;
        self.follow(cx);
        while more && !rounds.is_spent() && !frames.is_spent() {
            rounds.charge_round();
            more = self.poll_requests(cx)
                | self.poll_opening(cx)
                | self.poll_sockets(cx, &mut frames)
                | self.poll_timer(cx);
            // A link may have written what it had without being polled again.
            if more || !self.links.sockets.is_empty() {
                more |= self.follow(cx);
            }
        }
        if more || frames.is_spent() {
            give_way(cx);
        }
        if self.links.poll_closing(cx).is_ready() && self.finished {
            // Here and not with the rest, which is dropped under the lock.
            (self.polls, self.posts) = Default::default();
            if self.links.is_in_doubt {
                self.shared.lock().is_written = false;
            }
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn input(&self, input: Input) {
        let mut state = self.shared.lock();
        let now = state.clock.now();
        state.session.handle_input(now, input);
    }

    /// Carries out the outputs of the session, and wakes the tasks that wait. Returns whether there is something new to
    /// poll.
    fn follow(&mut self, cx: &Context<'_>) -> bool {
        let shared = self.shared;
        let mut state = shared.lock();
        state.set_driver(cx.waker());
        let mut has_acted = false;
        let (mut has_events, mut has_room, mut has_ended) = (false, false, false);
        while let Some(output) = state.session.poll_output() {
            match output {
                Output::Events => has_events = true,
                Output::Room => has_room = true,
                Output::Finished => has_ended = true,
                output => {
                    has_acted = true;
                    let patience = state.close_patience();
                    self.act(output, &mut state.session, patience);
                }
            }
        }
        let mut opened = None;
        if !self.was_open && state.session.opened().is_some() {
            self.was_open = true;
            self.verdict.first_answer = Bytes::new();
            state.open_since = Some(now());
            state.set_phase(Phase::Open);
            state.delivery.record(Event::Opened);
            opened = state.session.opened().cloned();
        }
        let is_upgrading = state.session.is_upgrading();
        // One that fails as soon as it begins is never seen in progress.
        let has_failed = state.session.is_open()
            && state.session.probe_failure().is_some()
            && state.upgrade_error.is_none();
        let was_upgrading = std::mem::replace(&mut self.was_upgrading, is_upgrading);
        let has_settled = has_failed || was_upgrading && !is_upgrading;
        let transport = state.session.transport();
        let has_moved = transport != self.opened_by && !state.upgraded;
        state.upgraded |= has_moved;
        let mut upgrade_error = None;
        if has_moved {
            state.delivery.record(Event::Upgrade(Ok(())));
        } else if has_failed {
            let error = self.upgrade_failure(&state.session);
            state.upgrade_error = Some(error.clone());
            state.delivery.record(Event::Upgrade(Err(error.clone())));
            upgrade_error = Some(error);
        }
        // Of two, neither carries messages yet.
        let socket = self.links.sockets.first();
        if let Some(socket) = socket.filter(|_| state.session.closed().is_none()) {
            has_room |=
                !state.is_written && socket.is_written && state.wakers.wait_for(Interest::Outbox);
            state.is_written = socket.is_written;
        }
        let is_news = opened.is_some() || has_settled;
        // The readers, without another lock; there is one as a rule.
        let mut readers = [const { None }; BATCH];
        let mut has_more = has_events && !is_news;
        if has_more {
            let end = state.wakers.next_key();
            has_more = state.wakers.take(Interest::Events, end, &mut readers);
        }
        self.finished |= has_ended;
        // Before anybody is woken, because they may ask for it.
        let before = has_ended
            .then(|| self.error(&state.session))
            .and_then(|error| state.note_end(error));
        let discarded = state.session.take_discarded();
        drop(state);
        // Without the lock, which the application's code may need in turn.
        drop((before, discarded));
        readers.into_iter().flatten().for_each(Waker::wake);
        self.given_up.clear();
        self.links.given_up.clear();
        if let Some(opened) = opened {
            meter::connected(self.opened_by);
            tracing::debug!(target: TARGET, sid = opened.short_sid(), transport = %self.opened_by, "session opened");
        }
        if has_moved {
            meter::upgraded(transport);
            tracing::debug!(target: TARGET, to = %transport, "upgraded");
        }
        if let Some(error) = upgrade_error {
            tracing::warn!(target: TARGET, %error, "the upgrade failed; going on by polling");
        }
        if is_news {
            shared.wake(Interest::Phase);
        } else {
            if has_more {
                shared.wake(Interest::Events);
            }
            if has_room {
                shared.wake(Interest::Outbox);
            }
        }
        has_acted
    }

    /// Returns the error for an upgrade that has just failed.
    fn upgrade_failure(&mut self, session: &Session) -> Error {
        let error = self.upgrade_error.take();
        error.unwrap_or_else(|| {
            let place = self.route.place(&self.route.secrets(Some(session)));
            let limit = self.settings.session.upgrade_timeout;
            upgrade_failure(session.probe_failure(), self.tried, &place, limit)
        })
    }

    /// Carries out an output. A link that is closed has as much time as is left of a graceful close.
    fn act(&mut self, output: Output, session: &mut Session, patience: Duration) {
        match output {
            Output::Poll(id) => self.start_poll(id, session),
            Output::Post(id) => {
                if let Some(body) = session.take_payload(id) {
                    let limit = session.opened().and_then(|opened| opened.max_payload());
                    let sizes = limit.map(|limit| (body.body.len(), limit));
                    self.verdict.oversized = sizes.filter(|(len, limit)| len > limit);
                    let sid = session.opened().map(|opened| opened.sid());
                    let limit = Some(self.settings.request_timeout);
                    let send = |kept| self.route.request(kept, sid, Some(body));
                    self.posts.start(id, limit, send);
                }
            }
            Output::Cancel(id) => {
                self.given_up.extend(self.polls.cancel(id));
                self.given_up.extend(self.posts.cancel(id));
            }
            Output::OpenLink(id, transport) => {
                self.tried = transport;
                self.open_link(id, transport, session);
            }
            Output::SendFrames(id) => self.links.announce(id),
            Output::CloseLink(id, reason) => self.links.close(id, reason, patience),
            _ => {}
        }
    }

    /// Starts a GET, whose time the heartbeat limits.
    fn start_poll(&mut self, id: RequestId, session: &Session) {
        let sid = session.opened().map(|opened| opened.sid());
        let send = |kept| self.route.request(kept, sid, None);
        self.polls.start(id, None, send);
    }

    /// Opens a link, of a session that is open or with the handshake of a new one.
    fn open_link(&mut self, id: LinkId, transport: Transport, session: &Session) {
        let sid = session.opened().map(|opened| opened.sid());
        let opening = self.route.open_link(transport, sid);
        self.links.open(id, transport, opening);
    }

    /// Follows a redirect of the handshake, or returns the error.
    fn follow_redirect(&mut self, error: Error) -> Result<(), Error> {
        match self.was_open {
            true => Err(error.within_session()),
            false => self.route.follow(error),
        }
    }

    fn poll_requests(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        if let Some((id, answer)) = self.polls.poll(cx) {
            progress = true;
            match answer {
                Ok(body) => {
                    if !self.was_open {
                        self.verdict.first_answer = body.body.clone();
                    }
                    self.input(Input::PollAnswered(id, body));
                }
                Err(error) => match self.follow_redirect(error) {
                    Ok(()) => {
                        let shared = self.shared;
                        self.start_poll(id, &shared.lock().session);
                    }
                    Err(error) => {
                        let reason = self.verdict.failed(error);
                        self.input(Input::PollFailed(id, reason));
                    }
                },
            }
        }
        if let Some((id, answer)) = self.posts.poll(cx) {
            progress = true;
            self.posted(id, answer.map(|_| ()));
        }
        progress
    }

    fn posted(&mut self, id: RequestId, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) => {
                self.verdict.oversized = None;
                self.input(Input::PostAnswered(id));
            }
            Err(error) => {
                let is_open = self.shared.lock().session.is_open();
                let reason = self.verdict.post_failed(error, is_open);
                self.input(Input::PostFailed(id, reason));
            }
        }
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> bool {
        let Some((id, transport, opened)) = self.links.poll_opening(cx) else {
            return false;
        };
        match opened {
            Ok(link) => {
                self.links.opened(id, link);
                self.input(Input::LinkOpened(id));
            }
            Err(error) => match self.follow_redirect(error) {
                Ok(()) => {
                    let shared = self.shared;
                    self.open_link(id, transport, &shared.lock().session);
                }
                Err(error) => self.link_closed(id, error.reason(), Some(error)),
            },
        }
        true
    }

    /// Reads and writes frames. Returns whether a link is to be polled again, or gone.
    fn poll_sockets(&mut self, cx: &mut Context<'_>, budget: &mut Budget) -> bool {
        let mut more = false;
        let mut at = 0;
        while let Some(socket) = self.links.sockets.get_mut(at) {
            match socket.poll(self.shared, &self.route, cx, budget) {
                Ok(again) => {
                    more |= again;
                    at += 1;
                }
                Err((reason, error)) => {
                    let patience = self.shared.lock().close_patience();
                    let id = self.links.end(at, reason, patience);
                    self.link_closed(id, reason, error);
                    more = true;
                }
            }
        }
        more
    }

    fn link_closed(&mut self, id: LinkId, reason: DisconnectReason, error: Option<Error>) {
        self.input(Input::LinkClosed(id, reason));
        if reason == DisconnectReason::HandlerPanic {
            // Code that has panicked is not called again, by polling either.
            self.shared.lock().session.abort(reason);
        }
        let (is_over, goes_on) = {
            let session = &self.shared.lock().session;
            (session.closed().is_some(), session.is_upgrading())
        };
        match error {
            Some(error) if is_over => {
                self.verdict.failed(error);
            }
            Some(error) if goes_on => {
                tracing::debug!(target: TARGET, %error, "one of two transports failed in the upgrade");
            }
            // An upgrade that failed is not why the session ends later.
            error if !is_over => self.upgrade_error = error,
            _ => {}
        }
    }

    /// Returns whether a timer was due.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let of_session = self.shared.lock().timeout();
        let deadlines = [of_session, self.polls.deadline(), self.posts.deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        if self.alarm.poll(deadline, cx).is_pending() {
            return false;
        }
        let now = now();
        self.polls.expire(now);
        if let Some(id) = self.posts.expire(now) {
            let (target, limit) = (&self.route.target, self.settings.request_timeout);
            let message = format!(
                "POST {target} had no answer after {limit:?}; raise `request_timeout` if the server is slow"
            );
            self.posted(id, Err(Error::new(ErrorKind::Timeout, message)));
        }
        if of_session.is_some_and(|at| at <= now) {
            self.shared.lock().on_timeout();
        }
        true
    }
}
