//! Tests of the policy, without a network.

use super::*;

fn ended(reason: DisconnectReason, error: Option<Error>) -> Outcome {
    Outcome {
        lasted: None,
        reason,
        error,
        link: None,
    }
}

#[test]
fn delays_double_up_to_the_limit_and_attempts_end() {
    let policy = Reconnect::new().jitter(0.0).max_attempts(7);
    let failure = ended(DisconnectReason::TransportError, None);
    let delays: Vec<u64> = (1..)
        .map_while(|attempt| Some(policy.next(attempt, &failure)?.as_secs()))
        .collect();
    assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30]);
}

#[test]
fn delays_are_spread_below_the_maximum_too() {
    let policy = Reconnect::new();
    assert_eq!(policy.delay(1, 0.0), Duration::from_millis(500));
    assert_eq!(policy.delay(1, 0.5), Duration::from_secs(1));
    assert_eq!(policy.delay(9, 0.0), Duration::from_secs(15));
    assert_eq!(policy.delay(9, 0.5), Duration::from_millis(22_500));
    assert_eq!(policy.delay(u32::MAX, 0.5), Duration::from_millis(22_500));
    assert!((0..100).all(|_| (0.0..1.0).contains(&random())));
}

#[test]
fn no_delay_is_shorter_than_a_millisecond() {
    let tiny = Duration::from_nanos(1);
    for policy in [
        Reconnect::new().initial_delay(Duration::ZERO),
        Reconnect::new().initial_delay(tiny),
        Reconnect::new().max_delay(Duration::ZERO),
        Reconnect::new().initial_delay(tiny).jitter(1.0),
    ] {
        assert_eq!(policy.delay(1, 0.0), Duration::from_millis(1));
    }
    // It doubles from there.
    let policy = Reconnect::new().initial_delay(tiny).jitter(0.0);
    assert_eq!(policy.delay(4, 0.5), Duration::from_millis(8));
}

#[test]
fn no_attempts_and_unlimited_attempts_have_names() {
    let failure = ended(DisconnectReason::TransportError, None);
    assert_eq!(Reconnect::new().max_attempts(0).next(1, &failure), None);
    assert_eq!(Reconnect::new().next(11, &failure), None);
    for policy in [
        Reconnect::new().max_attempts(u32::MAX),
        Reconnect::new().unlimited_attempts(),
    ] {
        assert!(policy.next(u32::MAX, &failure).is_some());
    }
}

#[test]
fn a_client_that_was_closed_by_its_application_stays_away_whatever_the_policy_says() {
    let policy = Reconnect::new().retry_if(|_, _| true);
    for reason in [DisconnectReason::Client, DisconnectReason::HandlerPanic] {
        assert_eq!(policy.next(1, &ended(reason, None)), None);
    }
    assert!(
        Reconnect::new()
            .next(1, &ended(DisconnectReason::Server, None))
            .is_some()
    );
}

#[test]
fn an_option_that_cannot_be_used_is_not_tried_again() {
    let failure = ended(DisconnectReason::TransportError, Some(Error::invalid("no")));
    assert_eq!(Reconnect::new().next(1, &failure), None);
}
