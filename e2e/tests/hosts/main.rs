//! One list of scenarios, and every host passes it: a gap is a red test of that host's name.

mod endings;
mod limits;
mod mixed;
mod neighbours;
mod opening;
mod policies;
mod support;

/// The list, for one host.
macro_rules! scenarios {
    ($name:ident $host:ident [$($group:ident: $($scenario:ident)*;)*]) => {
        mod $name {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    crate::$group::$scenario::<engineio_e2e::host::$host>().await;
                }
            )*)*
        }
    };
}

engineio_e2e::on_every_host_and_cluster! { scenarios! [
    opening: handshake early_frame refused_websocket unusual_handshakes connection_option peer_address polling_echo websocket_echo
        upgrade upgrade_under_load upgrade_under_a_large_post;
    limits: too_large_by_length too_large_chunked chunked_post refused_before_the_body expect_continue;
    endings: poll_fin poll_reset poll_with_a_body_reset poll_with_half_a_body_reset half_a_response_reset idle_poller_lives post_fin post_reset
        websocket_fin websocket_fin_after_messages websocket_reset websocket_close probe_fin probe_reset;
    neighbours: host_page host_post host_websocket host_not_found host_neighbour;
    policies: own_origin absolute_form foreign_origin preflight cookie compression websocket_compression
        headers_of_the_connection;
    mixed: pushed_without_delay slow_reader given_up_while_reading closed_while_the_client_sends shutdown;
] }
