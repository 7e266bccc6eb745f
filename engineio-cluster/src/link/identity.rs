//! How two nodes identify themselves to each other: the first request of a connection, and their credentials.

use http::{HeaderName, HeaderValue};

/// The path of the first request of a connection, by which the nodes identify themselves to each other. Its number is
/// the version of their protocol.
pub(crate) const HELLO: &str = "/v1/hello";

/// The secret of the cluster, in the first request.
pub(crate) const SECRET: HeaderName = HeaderName::from_static("engineio-cluster-secret");

/// The node that sends the request.
pub(crate) const NODE: HeaderName = HeaderName::from_static("engineio-cluster-node");

/// The random number that distinguishes the node that answers from others of its name.
pub(crate) const INCARNATION: HeaderName = HeaderName::from_static("engineio-cluster-incarnation");

/// The node for which the request is meant.
pub(crate) const TARGET: HeaderName = HeaderName::from_static("engineio-cluster-target");

/// The proof of a node that it belongs to the cluster.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) secret: Option<HeaderValue>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::Tls>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}
