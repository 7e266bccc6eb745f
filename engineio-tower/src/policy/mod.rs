//! The decisions that the application configures: admission, origins, and response headers.

pub(crate) mod admission;
pub(crate) mod compression;
pub(crate) mod cookie;
pub(crate) mod cors;
pub(crate) mod multiplexed;
pub(crate) mod options;
pub(crate) mod origin;
