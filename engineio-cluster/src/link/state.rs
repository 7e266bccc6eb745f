//! The state of a connection to another node, and the reasons why it may be down.

use thiserror::Error;

use super::lane::Lane;

/// The state of a connection. Its task changes it.
#[derive(Clone, Debug)]
pub(super) enum State {
    Connecting,
    Up(Lane),
    Down(Failure),
}

/// The reason why a node cannot be reached.
#[derive(Clone, Debug, Error)]
pub(crate) enum Failure {
    /// Its address refuses connections: its process has ended, or a firewall rejects them.
    #[error("its address refuses connections")]
    Refused,
    /// It is not a member of the cluster any more.
    #[error("it has left the cluster")]
    Gone,
    #[error("it did not answer in time")]
    TimedOut,
    /// It answers, but not as the node that it should be.
    #[error("{0}")]
    Rejected(&'static str),
    #[error("the connection failed")]
    Broken,
}

impl Failure {
    /// Returns the label of the metric.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::TimedOut => "timed_out",
            Self::Rejected(_) => "rejected",
            Self::Broken => "broken",
        }
    }
}
