//! The connections to the other nodes: one of HTTP/2 for each.

mod dial;
pub(crate) mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use h2::client::SendRequest;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::members::Members;
use crate::membership::Membership;
use crate::{Member, NodeId};

pub(crate) use dial::{Credentials, HELLO, NODE, SECRET, TARGET};

/// The connections of this node to all others.
#[derive(Debug)]
pub(crate) struct Links {
    own_id: NodeId,
    members: Members,
    credentials: Arc<Credentials>,
    /// Hears of nodes whose address refuses connections.
    membership: Option<Arc<Membership>>,
    /// Connections outlive the request that opens them, and on some hosts the runtime of that request.
    runtime: Handle,
    table: Mutex<HashMap<NodeId, Link>>,
}

/// A connection to a node, or the attempt to make one.
#[derive(Debug)]
struct Link {
    member: Arc<Member>,
    state: watch::Receiver<State>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state of a connection. Its task changes it.
#[derive(Clone, Debug)]
enum State {
    Connecting,
    Up(SendRequest<Bytes>),
    Down(Failure),
}

/// The reason why a node cannot be reached.
#[derive(Clone, Debug, Error)]
pub(crate) enum Failure {
    /// Nothing listens at its address: its process has ended, and its sessions with it.
    #[error("nothing listens at its address")]
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

impl Links {
    pub(crate) fn new(
        own_id: NodeId,
        members: Members,
        credentials: Credentials,
        membership: Option<Arc<Membership>>,
    ) -> Self {
        Self {
            own_id,
            members,
            credentials: Arc::new(credentials),
            membership,
            runtime: Handle::current(),
            table: Mutex::default(),
        }
    }

    pub(crate) const fn own_id(&self) -> NodeId {
        self.own_id
    }

    pub(crate) fn own_name(&self) -> &str {
        self.own_id.as_str()
    }

    pub(crate) const fn members(&self) -> &Members {
        &self.members
    }

    /// Returns whether this node, and not a successor of the same name, is a member.
    pub(crate) fn is_alive(&self, member: &Member) -> bool {
        let known = self.members.get(&member.id);
        known.is_some_and(|known| is_same(&known, member))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Link>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection to a node if there is one.
    pub(crate) fn connected(&self, member: &Member) -> Option<SendRequest<Bytes>> {
        let table = self.lock();
        let link = table.get(&member.id)?;
        match &*link.state.borrow() {
            State::Up(connection) if is_same(&link.member, member) => Some(connection.clone()),
            _ => None,
        }
    }

    /// Returns a connection to a node that takes another request. All who wait for one share the attempt to make it.
    pub(crate) async fn connect(
        &self,
        member: &Arc<Member>,
    ) -> Result<SendRequest<Bytes>, Failure> {
        if !self.is_alive(member) {
            return Err(Failure::Gone);
        }
        let mut state = self.attempt(member);
        loop {
            let seen = state
                .wait_for(|state| !matches!(state, State::Connecting))
                .await
                .map_or(State::Down(Failure::Broken), |seen| seen.clone());
            match seen {
                State::Up(connection) => match connection.ready().await {
                    Ok(connection) => return Ok(connection),
                    // Its task has not yet seen that it is broken. Nothing has been sent over it.
                    Err(_) if state.changed().await.is_ok() => {}
                    Err(_) => return Err(Failure::Broken),
                },
                State::Down(failure) => {
                    if let (Failure::Refused, Some(membership)) = (&failure, &self.membership) {
                        membership.report_refused_connection(member.id);
                    }
                    return Err(failure);
                }
                State::Connecting => {}
            }
        }
    }

    /// Returns the state of the connection to a node, and begins to connect if there is none.
    fn attempt(&self, member: &Arc<Member>) -> watch::Receiver<State> {
        let mut table = self.lock();
        if let Some(link) = table.get(&member.id)
            && is_same(&link.member, member)
            && !matches!(&*link.state.borrow(), State::Down(_))
            && !link.task.is_finished()
        {
            return link.state.clone();
        }
        let known_down = table
            .get(&member.id)
            .is_some_and(|link| matches!(&*link.state.borrow(), State::Down(_)));
        let (sender, state) = watch::channel(State::Connecting);
        let credentials = Arc::clone(&self.credentials);
        let task = self.runtime.spawn(dial::run(
            self.own_id,
            Arc::clone(member),
            credentials,
            sender,
            known_down,
        ));
        let link = Link {
            member: Arc::clone(member),
            state: state.clone(),
            task: task.abort_handle(),
        };
        table.insert(member.id, link);
        state
    }

    /// Ends the connections to nodes that are not members any more, whose requests then end as well. Runs until it is
    /// dropped.
    pub(crate) async fn follow_members(self: Arc<Self>) {
        let mut changes = self.members.changes();
        while changes.changed().await.is_ok() {
            let members = changes.borrow_and_update().clone();
            self.lock().retain(|id, link| {
                let member = members.get(id);
                member.is_some_and(|member| is_same(member, &link.member))
            });
        }
    }
}

/// Returns whether both describe the same process.
fn is_same(a: &Member, b: &Member) -> bool {
    a.id == b.id && a.incarnation == b.incarnation && a.address == b.address
}
