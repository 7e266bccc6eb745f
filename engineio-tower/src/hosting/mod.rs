//! Serving without a framework: listeners, plain threads, and files from the disk.

#[cfg(feature = "server")]
mod activity;
#[cfg(feature = "server")]
pub mod blocking;
#[cfg(feature = "server")]
mod connection;
#[cfg(feature = "server")]
pub(crate) mod heads;
pub(crate) mod host_body;
pub(crate) mod host_request;
#[cfg(feature = "server")]
pub(crate) mod serve;
#[cfg(feature = "server")]
mod serve_options;
#[cfg(feature = "static-files")]
pub(crate) mod static_files;
