//! A cluster of nodes in one process: any node serves any request, and each row of the table of failures.

mod forwarding;
mod support;
