//! What several example programs share; and the Rust code of the READMEs and of the guides in `docs`, compiled and run as
//! documentation tests.

pub mod node;

/// See `README.md`.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// See `engineio-core/README.md`.
#[cfg(doctest)]
#[doc = include_str!("../../engineio-core/README.md")]
pub struct ReadmeCore;

/// See `engineio-tower/README.md`.
#[cfg(doctest)]
#[doc = include_str!("../../engineio-tower/README.md")]
pub struct ReadmeTower;

/// See `engineio-axum/README.md`.
#[cfg(doctest)]
#[doc = include_str!("../../engineio-axum/README.md")]
pub struct ReadmeAxum;

/// See `engineio-actix/README.md`.
#[cfg(doctest)]
#[doc = include_str!("../../engineio-actix/README.md")]
pub struct ReadmeActix;

/// See `engineio-warp/README.md`.
#[cfg(doctest)]
#[doc = include_str!("../../engineio-warp/README.md")]
pub struct ReadmeWarp;

/// See `engineio-client/README.md`.
#[cfg(doctest)]
#[doc = include_str!("../../engineio-client/README.md")]
pub struct ReadmeClient;

/// See `engineio-cluster/README.md`.
#[cfg(doctest)]
#[doc = include_str!("../../engineio-cluster/README.md")]
pub struct ReadmeCluster;

/// See `docs/HOSTS.md`, whose programs are compiled by `cargo xtask trial`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/HOSTS.md")]
pub struct Hosts;

/// See `engineio-webtransport/README.md`.
#[cfg(doctest)]
#[doc = include_str!("../../engineio-webtransport/README.md")]
pub struct ReadmeWebTransport;

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

/// See `docs/TESTING_YOUR_SERVER.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/TESTING_YOUR_SERVER.md")]
pub struct TestingYourServer;

/// See `docs/SCALING.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/SCALING.md")]
pub struct Scaling;

/// See `docs/PROTOCOL.md`.
#[cfg(doctest)]
#[doc = include_str!("../../docs/PROTOCOL.md")]
pub struct Protocol;
