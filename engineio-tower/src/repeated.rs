//! Log lines about what any client can cause as often as it likes.

/// Logs an event, unless there was a line about one of its kind in the last second. `count` is the number of such events
/// since the last line.
///
/// Each use is a kind of its own, unless it names the [`Repeats`](engineio_core::driver::Repeats) that counts its events.
macro_rules! log_repeated {
    (of $repeats:expr, $level:ident, target: $target:literal, $($line:tt)+) => {
        if let Some(count) = $repeats.count(tokio::time::Instant::now(), 1) {
            tracing::$level!(target: $target, count, $($line)+);
        }
    };
    ($level:ident, target: $target:literal, $($line:tt)+) => {{
        static REPEATS: engineio_core::driver::Repeats =
            engineio_core::driver::Repeats::every(std::time::Duration::from_secs(1));
        $crate::repeated::log_repeated!(of REPEATS, $level, target: $target, $($line)+);
    }};
}

pub(crate) use log_repeated;
