#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod members;
mod node;

pub use members::{Member, MemberState};
pub use node::{InvalidNodeId, NodeId};
