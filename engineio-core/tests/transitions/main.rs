//! One scenario for each row of the transition table in the documentation of `server::Session`; those of revision 3 and
//! of forms are in `session_v3`.

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "every test crate uses its part of the rig")]
mod support;

#[path = "../support/xorshift.rs"]
#[allow(dead_code, reason = "every test crate uses its part of the numbers")]
mod xorshift;

mod candidates;
mod closing;
mod ending;
mod heartbeat;
mod inbox;
mod opening;
mod polling;
mod reads_nothing;
mod unheard;
mod upgrading;
mod websocket;

use std::collections::BTreeSet;

/// The rows that a scenario names, in a line of its own above `#[test]`.
fn rows_with_a_scenario(source: &str) -> impl Iterator<Item = u32> {
    let mut lines = source.lines().peekable();
    std::iter::from_fn(move || {
        loop {
            let Some(row) = lines.next()?.strip_prefix("// row ") else {
                continue;
            };
            assert_eq!(
                lines.peek(),
                Some(&"#[test]"),
                "row {row} names no scenario"
            );
            return Some(row.parse().unwrap());
        }
    })
}

#[test]
fn every_row_of_the_transition_table_has_a_scenario() {
    let rows: Vec<u32> = include_str!("../../src/server/mod.rs")
        .lines()
        .filter_map(|line| {
            line.strip_prefix("/// | ")?
                .split_once(" |")?
                .0
                .parse()
                .ok()
        })
        .collect();
    assert!(rows.len() >= 45, "the table was not found: {rows:?}");
    let table: BTreeSet<_> = rows.iter().copied().collect();
    assert_eq!(table.len(), rows.len(), "a row number is used twice");

    let scenarios: BTreeSet<_> = [
        include_str!("candidates.rs"),
        include_str!("closing.rs"),
        include_str!("ending.rs"),
        include_str!("heartbeat.rs"),
        include_str!("inbox.rs"),
        include_str!("opening.rs"),
        include_str!("polling.rs"),
        include_str!("unheard.rs"),
        include_str!("upgrading.rs"),
        include_str!("websocket.rs"),
        include_str!("../session_v3/main.rs"),
        include_str!("../session_v3/limits.rs"),
    ]
    .into_iter()
    .flat_map(rows_with_a_scenario)
    .collect();
    assert_eq!(scenarios, table);
}
