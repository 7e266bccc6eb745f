//! The connections to the other nodes: one over HTTP/2 for each, and more if it is full.

pub(crate) mod buffers;
mod dial;
mod identity;
mod keep_alive;
mod lane;
mod limits;
mod paced;
mod state;
pub(crate) mod stream;

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::members::Members;
use crate::membership::Membership;
use crate::{Member, NodeId};

pub(crate) use dial::is_another;
pub(crate) use identity::{Credentials, HELLO, INCARNATION, NODE, SECRET, TARGET};
pub(crate) use keep_alive::keep_alive;
pub(crate) use lane::{Lane, Ticket};
pub(crate) use limits::{MAX_FRAME, MAX_HEADERS, SEND_BUFFER, STREAM_WINDOW, STREAMS};
pub(crate) use paced::{Arrivals, Paced};
pub(crate) use state::Failure;
use state::State;

/// The maximum number of connections to one node.
const MAX_LINKS: usize = 8;

/// The time in which the bus shows whether a node lives whose address refuses or resets connections: the node has 200 ms to
/// announce itself, and the messages about it take some time.
const VERDICT: Duration = Duration::from_millis(400);

/// The connections of this node to all others.
#[derive(Debug)]
pub(crate) struct Links {
    own_id: NodeId,
    members: Members,
    credentials: Arc<Credentials>,
    /// Is told of nodes whose address refuses connections.
    membership: Option<Arc<Membership>>,
    /// Connections outlive the request that opens them, and on some hosts the runtime of that request.
    runtime: Handle,
    table: Mutex<HashMap<NodeId, Vec<Link>>>,
}

/// A connection to a node, or the attempt to make one.
#[derive(Debug)]
struct Link {
    member: Arc<Member>,
    state: watch::Receiver<State>,
    task: AbortHandle,
}

impl Link {
    fn is_down(&self) -> bool {
        matches!(&*self.state.borrow(), State::Down(_))
    }

    fn may_have_room(&self) -> bool {
        match &*self.state.borrow() {
            State::Up(lane) => lane.has_room(),
            _ => true,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
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

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Vec<Link>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a connection to a node that has room for another request, if there is one.
    pub(crate) fn connected(&self, member: &Member) -> Option<Lane> {
        let table = self.lock();
        table.get(&member.id)?.iter().find_map(|link| {
            let state = link.state.borrow();
            match &*state {
                State::Up(lane) if is_same(&link.member, member) && lane.has_room() => {
                    Some(lane.clone())
                }
                _ => None,
            }
        })
    }

    /// Returns a connection to a node that takes another request. All who wait for one share the attempt to make it.
    pub(crate) async fn connect(&self, member: &Arc<Member>) -> Result<Lane, Failure> {
        if !self.is_alive(member) {
            return Err(Failure::Gone);
        }
        let mut state = self.attempt(member);
        let mut begun_again = false;
        loop {
            let seen = state
                .wait_for(|state| !matches!(state, State::Connecting))
                .await
                .map_or(State::Down(Failure::Broken), |seen| seen.clone());
            match seen {
                State::Up(mut lane) => match poll_fn(|cx| lane.poll_ready(cx)).await {
                    Ok(()) => return Ok(lane),
                    Err(_) if begun_again => {
                        return Err(self.verdict(member, Failure::Broken).await);
                    }
                    // Nothing has been sent over it, so another one may be tried as soon as its task sees that it is broken.
                    Err(_) => {
                        let _ = state.wait_for(|state| !matches!(state, State::Up(_))).await;
                        begun_again = true;
                        state = self.attempt(member);
                    }
                },
                // The connections of a process that ends break, and those that wait to be accepted are reset.
                State::Down(failure @ (Failure::Refused | Failure::Broken)) => {
                    return Err(self.verdict(member, failure).await);
                }
                State::Down(failure) => return Err(failure),
                State::Connecting => {}
            }
        }
    }

    /// Waits until the bus has shown whether a node lives to which no connection is possible, and returns the failure if
    /// it does. No node of a fixed list is ever declared dead.
    async fn verdict(&self, member: &Member, failure: Failure) -> Failure {
        let Some(membership) = &self.membership else {
            return failure;
        };
        let mut changes = self.members.changes();
        membership.report_refused_connection(member.id);
        let gone = changes.wait_for(|members| {
            let known = members.get(&member.id);
            !known.is_some_and(|known| is_same(known, member))
        });
        match timeout(VERDICT, gone).await {
            Ok(_) => Failure::Gone,
            Err(_) => failure,
        }
    }

    /// Returns the state of a connection to a node, and begins to connect if there is none that has room.
    fn attempt(&self, member: &Arc<Member>) -> watch::Receiver<State> {
        let mut table = self.lock();
        let links = table.entry(member.id).or_default();
        let known_down = links.iter().any(Link::is_down);
        links.retain(|link| {
            is_same(&link.member, member) && !link.is_down() && !link.task.is_finished()
        });
        let with_room = links.iter().find(|link| link.may_have_room());
        // Beyond the last one, requests wait for the end of others.
        let last = links.last().filter(|_| links.len() >= MAX_LINKS);
        if let Some(link) = with_room.or(last) {
            return link.state.clone();
        }
        let (sender, state) = watch::channel(State::Connecting);
        let credentials = Arc::clone(&self.credentials);
        let task = self.runtime.spawn(dial::run(
            self.own_id,
            Arc::clone(member),
            self.members.clone(),
            credentials,
            sender,
            known_down,
        ));
        let link = Link {
            member: Arc::clone(member),
            state: state.clone(),
            task: task.abort_handle(),
        };
        links.push(link);
        state
    }

    /// Ends the connections to nodes that are not members any more, whose requests then end as well. Runs until it is
    /// dropped.
    pub(crate) async fn follow_members(self: Arc<Self>) {
        let mut changes = self.members.changes();
        while changes.changed().await.is_ok() {
            let members = changes.borrow_and_update().clone();
            self.lock().retain(|id, links| {
                let member = members.get(id);
                links.retain(|link| member.is_some_and(|member| is_same(member, &link.member)));
                !links.is_empty()
            });
        }
    }
}

/// Returns whether both describe the same process.
fn is_same(a: &Member, b: &Member) -> bool {
    a.id == b.id && a.incarnation == b.incarnation && a.address == b.address
}
