//! The buses and clusters of processes over real brokers, with faults.
//!
//! `cargo xtask cluster` runs it with the programs `nats-server` and `redis-server`, which it finds or installs, and with
//! the nodes that it has built. The tests whose names begin with `a_soak` run for as long as `ENGINEIO_SOAK_SECONDS` says.

mod broker;
mod buses;
mod crowd;
mod faults;
mod network;
mod node;
mod secured;

/// Runs each test for each broker.
macro_rules! for_each_broker {
    ($name:ident: $module:ident, [$($test:ident),* $(,)?]) => {
        mod $name {
            mod nats {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$module::$test(crate::broker::Kind::Nats).await;
                })*
            }

            mod redis {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::$module::$test(crate::broker::Kind::Redis).await;
                })*
            }
        }
    };
}

for_each_broker!(bus: buses, [
    delivers_to_everybody_in_order_up_to_the_limit,
    survives_a_killed_broker_and_sends_nothing_stale,
    gives_a_frozen_broker_up_and_comes_back,
    a_broker_that_stands_still_for_a_moment_loses_nothing,
    replaces_its_connection_when_asked,
    names_the_broker_that_it_cannot_reach,
]);

for_each_broker!(cluster: faults, [
    broadcasts_reach_every_client_once,
    a_killed_broker_costs_broadcasts_and_no_session,
    a_broadcast_that_a_frozen_broker_does_not_take_is_an_error,
    a_deaf_bus_costs_no_session,
    a_node_that_stands_still_for_three_seconds_loses_nothing,
    a_node_that_stands_still_for_eight_seconds_is_given_up_and_comes_back,
    the_clients_of_a_killed_owner_learn_it_at_once,
    a_second_node_with_one_id_refuses_to_start,
    a_rolling_deploy_ends_each_session_once_and_loses_nothing,
    a_flood_on_the_bus_costs_no_session,
    a_soak_with_a_fault_every_five_seconds_loses_nothing,
]);

for_each_broker!(tls: secured, [
    a_bus_over_tls_delivers,
    a_broker_whose_certificate_nobody_vouches_for_is_refused,
    nodes_meet_over_tls,
]);

for_each_broker!(deploy: crowd, [
    two_thousand_clients_reconnect_once_each_while_three_nodes_are_replaced,
]);

for_each_broker!(network_of: network, [
    nodes_that_cannot_reach_each_other_cost_503_for_their_sessions,
    a_network_that_fails_in_one_direction_costs_503_as_soon,
    a_machine_that_vanishes_costs_503_until_it_is_declared_dead,
]);
