//! The driver, against servers that do what a test tells them to. One program, because each of its own would compile the client
//! and hyper once more. What replaces parts of the process, such as the subscriber of the log, is apart.

#[path = "../support/mod.rs"]
mod support;

mod broken;
mod client;
mod closing;
mod connector;
mod fairness;
mod handlers;
mod headers;
mod hooked;
mod hostile;
mod leftovers;
mod ownership;
mod panics;
mod pressure;
mod reconnect;
mod redirects;
mod sink;
mod time;
mod turns;
mod unsent;
