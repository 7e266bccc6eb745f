#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod cluster;
mod forward;
mod link;
mod listener;
mod members;
mod node;

pub use builder::{ClusterBuilder, Peers, StartError};
pub use cluster::Cluster;
pub use members::{Member, MemberState};
pub use node::{InvalidNodeId, NodeId};
