//! The Engine.IO protocol without IO: packets, payloads, and the rules of a session. Nothing here reads a clock, opens a
//! socket, starts a task or draws a random number.
//!
//! Most programs use `engineio-tower` (or one of its adapters) or `engineio-client`, which drive this crate. Use it
//! directly to put Engine.IO on another runtime or another HTTP stack.
//!
//! # Main types
//!
//! - A [`Packet`] is one typed unit of the protocol; a [`Message`] is the application's data in a packet.
//! - [`codec`] converts packets to the frames of a WebSocket and the [`Payload`]s of polling, and back; [`jsonp`] wraps
//!   payloads for script elements, and unwraps payloads from forms.
//! - [`Query`] parses a request; [`Refusal`] is the answer to a request that breaks the rules.
//! - [`server::Session`] is the state machine for one client on the server: the driver reports events with their times,
//!   and it tells the driver what to do. [`client::Session`] is its counterpart on the client.
//! - [`driver`] has parts for drivers: the queue of waiting senders (back pressure), the work budget (fairness), calls that
//!   catch panics, and the count of repeated log lines.
//! - [`Config`] holds intervals, timeouts and limits.
//!
//! # Example
//!
//! This server session is opened by polling and echoes one message. The driver's task is to wait for bytes and to write
//! them; the documentation of [`server::Session`] has the contract between driver and session.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use engineio_core::server::{Event, First, Input, Output, Session};
//! use engineio_core::{Config, Payload, Revision, Sid};
//!
//! let now = Instant::now();
//! let mut session = Session::new(Arc::new(Config::default()), Sid::from_random([0; 15]), Revision::V4, false);
//! let handshake = session.next_exchange();
//! session.handle_input(now, Input::Accepted(First::Polling(handshake)));
//! while session.poll_output().is_some() {}
//! session.take_payload(now, handshake); // The open packet.
//!
//! let post = session.next_exchange();
//! session.handle_input(now, Input::PostOpened(post));
//! session.handle_input(now, Input::PostReceived(post, Payload::text("4hello")));
//! while let Some(output) = session.poll_output() {
//!     println!("{output:?}");
//! }
//! while let Some(event) = session.take_event(|| now) {
//!     if let Event::Message(message) = event {
//!         session.send(message).unwrap();
//!     }
//! }
//!
//! let poll = session.next_exchange();
//! session.handle_input(now, Input::PollOpened(poll));
//! assert_eq!(session.take_payload(now, poll).unwrap().body, "4hello");
//! assert!(session.poll_timeout().is_some()); // The next ping.
//! ```
//!
//! # Cancel safety
//!
//! No function here waits, so none can be cancelled.

// On docs.rs, each item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod client;
pub mod codec;
pub mod driver;
pub mod jsonp;
pub mod server;

mod close;
mod config;
mod handshake;
mod heartbeat;
mod inbox;
mod link;
mod outbox;
mod packet;
mod query;
mod refusal;
mod send;
mod sid;
mod text;
mod timer;
mod transport;

pub use close::DisconnectReason;
pub use codec::{DecodeError, Frame, Payload, Revision};
pub use config::Config;
pub use handshake::Handshake;
pub use link::LinkId;
pub use outbox::Discarded;
pub use packet::{Message, Packet};
pub use query::{Action, Method, Query, SidParameter};
pub use refusal::Refusal;
pub use send::{SendError, SendOptions};
pub use sid::{InvalidSid, Sid};
pub use text::Text;
pub use timer::Timer;
pub use transport::{Transport, Transports};
