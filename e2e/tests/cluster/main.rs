//! A cluster of nodes in one process: any node serves any request, and each row of the table of failures.

mod bus;
mod crowd;
mod delivery;
mod failures;
mod forwarding;
mod operations;
mod order;
mod sameness;
mod strangers;
mod support;
mod tls;

/// The scenarios of a module that a host passes as the node that receives the requests.
macro_rules! scenarios {
    ($name:ident $host:ident [$module:ident: $($scenario:ident)*]) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    crate::$module::$scenario::<engineio_e2e::host::$host>().await;
                }
            )*
        }
    };
}

engineio_e2e::on_every_host! { scenarios! [forwarding:
    a_poll_and_a_post_at_another_node_reach_the_session
    a_session_upgrades_through_another_node_and_closes_in_good_order
    a_large_post_at_another_node_arrives_and_one_that_is_too_large_is_refused
    a_websocket_through_another_node_ends_when_its_client_goes
    a_post_that_breaks_off_at_another_node_ends_its_session
    compression_and_extensions_are_agreed_with_the_owner
] }

/// Over HTTP/2, where a request ends without its connection.
mod over_http2 {
    macro_rules! on_hosts {
        ($($name:ident $host:ident)*) => {
            $(scenarios! { $name $host [delivery:
                a_poll_that_is_reset_while_its_answer_is_under_way_ends_its_session
            ] })*
        };
    }
    on_hosts! { axum Axum actix ActixHttp2 warp WarpLayer hyper Hyper }
}

mod same {
    engineio_e2e::on_one_host_of_each_kind! { scenarios! [sameness:
        a_request_gets_the_same_answer_at_any_node
    ] }
}
