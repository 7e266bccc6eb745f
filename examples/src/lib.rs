//! The Rust code of the guides in `docs`, compiled and run as documentation tests.

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
