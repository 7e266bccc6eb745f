//! `engineio-core` alone, driven by `std::net` and threads: no tokio, no hyper, no async. An echo server by long-polling.
//!
//! ```text
//! cargo run -p engineio-examples --example custom_driver
//! cargo run -p engineio-examples --bin client -- --url http://127.0.0.1:5000/engine.io/ --transports polling
//! ```
//!
//! The state machine of the core makes the decisions; a driver passes it the events with their times, and carries out
//! its outputs. This one has a thread for each connection and a thread for the clock. It is short, not complete:
//! `engineio-tower` has the rest, such as WebSockets, origins and compression.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use engineio_core::server::{Event, ExchangeId, First, Input, Output, Session};
use engineio_core::{Action, Config, DisconnectReason, Message, Method, Payload, Query, Refusal};
use engineio_core::{Revision, Sid, Transport, Transports};

/// Limits for untrusted peers: connections, and the bytes of a request head.
const MOST_CONNECTIONS: usize = 1_000;
const LONGEST_HEAD: usize = 16 * 1024;

/// The time limit for a silent connection, except during a waiting poll.
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    config: Arc<Config>,
    clients: Mutex<HashMap<Sid, Arc<Client>>>,
    connections: AtomicUsize,
}

/// A session and the exchanges that were decided and not yet answered; their threads wait for `decided`.
struct Client {
    state: Mutex<State>,
    decided: Condvar,
}

struct State {
    sid: Sid,
    session: Session,
    answers: HashMap<ExchangeId, Result<(), Refusal>>,
    is_finished: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The application.
fn on_message(session: &mut Session, message: Message, now: Instant) {
    if session.send(message).is_err() {
        session.abort(now, DisconnectReason::SlowConsumer);
    }
}

impl State {
    /// Does what the machine says, until it says nothing more.
    fn obey(&mut self, now: Instant) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::AnswerPoll(id) => drop(self.answers.insert(id, Ok(()))),
                Output::RefusePoll(id, why) => drop(self.answers.insert(id, Err(why))),
                Output::AnswerPost(id, answer) => drop(self.answers.insert(id, answer)),
                // Every request has a thread of its own, so others need no turn in between.
                Output::ContinuePost(id) => {
                    self.session.handle_input(now, Input::PostContinued(id));
                }
                Output::Finished => self.is_finished = true,
                // Room is for those who wait to send, and there are no WebSockets.
                _ => {}
            }
            while let Some(event) = self.session.take_event(|| now) {
                match event {
                    Event::Message(message) => on_message(&mut self.session, message, now),
                    Event::Closed(reason) => println!("{} left: {reason}", self.sid),
                    _ => {}
                }
            }
        }
    }
}

impl Client {
    /// Tells the machine what happened to a new exchange, waits for the decision and takes the answer.
    fn exchange(
        &self,
        happened: impl FnOnce(ExchangeId) -> Vec<Input>,
        take: impl FnOnce(&mut Session, ExchangeId) -> Option<Payload>,
    ) -> Result<Option<Payload>, Refusal> {
        let mut state = lock(&self.state);
        let id = state.session.next_exchange();
        for input in happened(id) {
            state.session.handle_input(Instant::now(), input);
        }
        state.obey(Instant::now());
        self.decided.notify_all();
        let undecided = |state: &mut State| !state.answers.contains_key(&id) && !state.is_finished;
        let waiting = self.decided.wait_while(state, undecided);
        let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
        let answer = state.answers.remove(&id);
        answer.unwrap_or(Err(Refusal::UnknownSid))?;
        let payload = take(&mut state.session, id);
        state.obey(Instant::now());
        Ok(payload)
    }
}

impl Server {
    fn handle(&self, request: &Request) -> Result<Option<Payload>, Refusal> {
        let take = |session: &mut Session, id| session.take_payload(Instant::now(), id);
        match Query::parse(&request.query).action(request.method, false, &self.config)? {
            Action::Open(Transport::Polling, revision) => {
                let client = self.open(revision)?;
                client.exchange(|id| vec![Input::Accepted(First::Polling(id))], take)
            }
            Action::Poll(sid) => {
                let client = self.client(sid)?;
                client.exchange(|id| vec![Input::PollOpened(id)], take)
            }
            Action::Post(sid) => {
                let brought = |id| match &request.body {
                    Some(body) => Input::PostReceived(id, Payload::text(body.clone())),
                    None => Input::PostTooLarge(id),
                };
                let happened = |id| vec![Input::PostOpened(id), brought(id)];
                self.client(sid)?.exchange(happened, |_, _| None)
            }
            _ => Err(Refusal::UnknownTransport),
        }
    }

    fn open(&self, revision: Revision) -> Result<Arc<Client>, Refusal> {
        let mut random = [0; 15];
        getrandom::fill(&mut random).map_err(|_| Refusal::Forbidden)?;
        let sid = Sid::from_random(random);
        let client = Arc::new(Client {
            state: Mutex::new(State {
                sid,
                session: Session::new(Arc::clone(&self.config), sid, revision, false),
                answers: HashMap::new(),
                is_finished: false,
            }),
            decided: Condvar::new(),
        });
        lock(&self.clients).insert(sid, Arc::clone(&client));
        Ok(client)
    }

    fn client(&self, sid: Sid) -> Result<Arc<Client>, Refusal> {
        let clients = lock(&self.clients);
        clients.get(&sid).cloned().ok_or(Refusal::UnknownSid)
    }

    /// Tells every session the time when its deadline has come, and forgets those that are over. A larger server keeps
    /// the deadlines in a heap.
    fn run_clock(&self) {
        loop {
            thread::sleep(Duration::from_millis(50));
            let clients: Vec<_> = lock(&self.clients).values().cloned().collect();
            let mut over = Vec::new();
            for client in clients {
                let now = Instant::now();
                let mut state = lock(&client.state);
                if state.session.poll_timeout().is_some_and(|due| due <= now) {
                    state.session.handle_input(now, Input::Timeout);
                    state.obey(now);
                    client.decided.notify_all();
                }
                if state.is_finished {
                    over.push(state.sid);
                }
            }
            lock(&self.clients).retain(|sid, _| !over.contains(sid));
        }
    }

    /// One request after the other, until the client or its patience is gone.
    fn serve(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut buffer = Vec::new();
        while let Some(request) = Request::read(stream, &mut buffer, self.config.max_payload)? {
            let is_ours = request.path == "/engine.io" || request.path.starts_with("/engine.io/");
            let answer = is_ours.then(|| self.handle(&request));
            match answer {
                None => respond(stream, 404, "text/plain", b"nothing here\n")?,
                Some(Ok(Some(payload))) => {
                    respond(stream, 200, "text/plain; charset=UTF-8", &payload.body)?
                }
                Some(Ok(None)) => respond(stream, 200, "text/html", b"ok")?,
                Some(Err(refusal)) => {
                    respond(
                        stream,
                        refusal.status(),
                        "application/json",
                        refusal.body().as_bytes(),
                    )?;
                }
            }
            // Of a body that was not taken something is left to be read.
            if request.is_last || request.body.is_none() {
                break;
            }
        }
        Ok(())
    }
}

struct Request {
    method: Method,
    path: String,
    query: String,
    /// `None` if it is larger than a body may be, or of unknown length.
    body: Option<Vec<u8>>,
    is_last: bool,
}

impl Request {
    /// Reads a request; what follows it stays in the buffer. `None` at the end of the connection.
    fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, most: usize) -> io::Result<Option<Self>> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut head = httparse::Request::new(&mut headers);
            let parsed = head.parse(buffer).map_err(io::Error::other)?;
            let httparse::Status::Complete(len) = parsed else {
                if buffer.len() > LONGEST_HEAD {
                    return Err(io::Error::other("the head is too long"));
                }
                if fill(stream, buffer)? == 0 {
                    return Ok(None);
                }
                continue;
            };
            let header = |name: &str| {
                let header = head
                    .headers
                    .iter()
                    .find(|header| header.name.eq_ignore_ascii_case(name))?;
                std::str::from_utf8(header.value).ok()
            };
            let target = head.path.unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let mut request = Self {
                method: match head.method {
                    Some("GET") => Method::Get,
                    Some("POST") => Method::Post,
                    _ => Method::Other,
                },
                path: path.to_owned(),
                query: query.to_owned(),
                body: None,
                is_last: header("connection")
                    .is_some_and(|value| value.eq_ignore_ascii_case("close")),
            };
            let length = match (header("transfer-encoding"), header("content-length")) {
                (None, None) => Some(0),
                (None, Some(length)) => length.parse().ok().filter(|length| *length <= most),
                _ => None,
            };
            if header("expect").is_some() {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            buffer.drain(..len);
            if let Some(length) = length {
                while buffer.len() < length {
                    if fill(stream, buffer)? == 0 {
                        return Ok(None);
                    }
                }
                request.body = Some(buffer.drain(..length).collect());
            }
            return Ok(Some(request));
        }
    }
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 4096];
    let count = stream.read(&mut piece)?;
    buffer.extend_from_slice(&piece[..count]);
    Ok(count)
}

fn respond(stream: &mut TcpStream, status: u16, kind: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} \r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    let server = Arc::new(Server {
        config: Arc::new(Config {
            transports: Transports::from_iter([Transport::Polling]),
            ..Config::default()
        }),
        clients: Mutex::default(),
        connections: AtomicUsize::new(0),
    });
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:5000"))?;
    println!("listening on http://{}", listener.local_addr()?);
    let clock = Arc::clone(&server);
    thread::spawn(move || clock.run_clock());
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        if server.connections.fetch_add(1, Ordering::Relaxed) >= MOST_CONNECTIONS {
            server.connections.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let server = Arc::clone(&server);
        thread::spawn(move || {
            // A client that is gone is noticed by its session: it answers no ping.
            let _ = server.serve(&mut stream);
            server.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
    Ok(())
}
