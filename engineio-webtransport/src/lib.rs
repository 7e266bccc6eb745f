#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod connection;
mod identity;
mod listener;
mod session;
mod stream;
mod watch;

pub use identity::{CurrentIdentity, Identity, IdentityError};
pub use listener::WebTransport;
