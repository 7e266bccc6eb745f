//! The driver: requests that go straight to the service, and WebSockets in memory. One program, because each of its own would
//! compile the server and hyper once more. What replaces parts of the process, such as the recorder of metrics, is apart.

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod advisories;
mod closing;
mod concurrent;
mod custom_host;
mod deflate;
mod delivery;
mod documented;
mod fairness;
mod handlers;
mod heartbeat;
mod hooks;
mod policies;
mod pressure;
mod sending;
mod sessions;
mod static_files;
mod together;
mod unread;
mod waiting;
