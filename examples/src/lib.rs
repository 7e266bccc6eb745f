//! The Rust code of the README and of the guides in `docs`, compiled and run as documentation tests.

/// See `README.md`.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// See `docs/FROM_PYTHON.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/FROM_PYTHON.md")]
pub struct FromPython;

/// See `docs/FROM_ENGINE_IO.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/FROM_ENGINE_IO.md")]
pub struct FromEngineIo;

/// See `docs/FROM_ENGINEIOXIDE.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/FROM_ENGINEIOXIDE.md")]
pub struct FromEngineioxide;

/// See `docs/DEPLOYMENT.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/DEPLOYMENT.md")]
pub struct Deployment;

/// See `docs/SCALING.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/SCALING.md")]
pub struct Scaling;

/// See `docs/PROTOCOL.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/PROTOCOL.md")]
pub struct Protocol;
