//! Attacks over real sockets, on every host: one client misbehaves, and the other clients must not be affected.
//!
//! Every scenario is run by [`siege::withstand`], which keeps a well-behaved client (a bystander) connected on each
//! transport meanwhile.

mod bodies;
mod bystander;
mod crowds;
mod faults;
mod frames;
mod harness;
mod heads;
mod identity;
mod machine;
mod pinned;
mod process;
mod resources;
mod siege;
mod slow;
mod stalled;
mod strict;
mod workers;

use std::process::ExitCode;

use harness::Case;

/// Adds the attacks on one host to a list.
macro_rules! attacks {
    ($name:ident $host:ident [$cases:ident $prefix:literal $must_be_named:literal
        $($group:ident: $($attack:ident)*;)*
    ]) => {
        $($($cases.push(Case {
            name: concat!(
                $prefix, stringify!($name), "::", stringify!($group), "::", stringify!($attack)
            ),
            run: || {
                use crate::$group::{$attack as attack, rules};
                harness::block_on(async {
                    siege::withstand::<engineio_e2e::host::$host>(rules, attack).await;
                });
            },
            must_be_named: $must_be_named,
        });)*)*
    };
}

/// Adds the attacks on a process of one host to a list.
macro_rules! attacks_on_a_process {
    ($name:ident $host:ident [$cases:ident $($group:ident: $($attack:ident)*;)*]) => {
        $($($cases.push(Case {
            name: concat!(
                "on_a_process::", stringify!($name), "::", stringify!($group), "::",
                stringify!($attack)
            ),
            run: || harness::block_on(crate::$group::$attack(stringify!($name))),
            must_be_named: false,
        });)*)*
    };
}

fn main() -> ExitCode {
    let mut cases = Vec::new();
    // Those that take longest come first.
    on_a_process(&mut cases);
    at_length(&mut cases);
    at_length_on_clusters(&mut cases);
    quick(&mut cases);
    cases.push(Case {
        name: "workers::sessions_outlive_the_workers_of_actix",
        run: || harness::block_on(workers::sessions_outlive_the_workers_of_actix()),
        must_be_named: false,
    });
    harness::run(cases)
}

fn quick(cases: &mut Vec<Case>) {
    engineio_e2e::on_every_host_and_cluster! { attacks! [cases "" false
        bodies: endless_chunks tiny_chunks tiny_packets no_packets compressed behind_a_get;
        frames: forbidden not_utf8 no_packets too_large compressed tiny_messages endless_fragments;
        heads: huge two_lengths two_origins broken_handshakes injection paths;
        identity: guessed_sids two_transports foreign_origin other_revision other_methods;
        strict: broadcast;
        faults: message_handler_panics connect_handler_panics connect_handler_hangs
            upgrade_handler_panics message_handler_hangs;
    ] }
}

/// Adds the attacks that take their time to a list: a crowd has to be gathered, or the heartbeat has to come.
macro_rules! attacks_at_length {
    ($hosts:ident [$($list:tt)*]) => {
        engineio_e2e::$hosts! { attacks! [$($list)*
            bodies: ten_gigabytes_announced;
            frames: pings;
            slow: fifty_bodies body_beside_a_websocket frame_of_bytes heads;
            stalled: echo_over_websocket echo_over_polling broadcast_over_websocket broadcast_over_polling answers
                handshakes;
            crowds: handshaken_reset handshaken_half_closed waiting_reset waiting_half_closed posting_reset
                posting_half_closed websockets_reset websockets_half_closed opening_reset opening_half_closed
                upgrading_reset upgrading_half_closed half_closed_requests;
        ] }
    };
}

fn at_length(cases: &mut Vec<Case>) {
    attacks_at_length! { on_one_host_of_each_kind [cases "at_length::" false] }
}

/// The same on clusters, where each costs three servers: `cargo xtask cluster` names them.
fn at_length_on_clusters(cases: &mut Vec<Case>) {
    attacks_at_length! { on_a_cluster_of_each_kind [cases "on_clusters::at_length::" true] }
}

/// And these need a process of their own, whose memory and descriptors are counted.
fn on_a_process(cases: &mut Vec<Case>) {
    engineio_e2e::on_one_host_of_each_kind! { attacks_on_a_process! [cases
        resources: handshakes stalled_readers bombs descriptors;
        pinned: large_bodies many_bodies chunked_bodies bodies_of_revision_3 large_frames fragments
            concurrent_handlers;
    ] }
}
