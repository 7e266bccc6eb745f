//! The service: requests to responses.

pub(crate) mod body;
pub(crate) mod connect;
pub(crate) mod delivery;
pub(crate) mod driver;
pub(crate) mod engine;
pub(crate) mod future;
pub(crate) mod io;
pub(crate) mod over;
pub(crate) mod poll;
pub(crate) mod post;
mod request_body;
pub(crate) mod response;
pub(crate) mod service;
pub(crate) mod template;
pub(crate) mod time_limit;
pub(crate) mod unread;
pub(crate) mod upgrade;
