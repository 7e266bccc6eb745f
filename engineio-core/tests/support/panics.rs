//! A panic that the tests of every driver survive.

/// Panics with a value that panics when it is dropped, with another of its kind.
pub(crate) fn panic_again_on_drop() -> ! {
    struct Grenade;

    impl Drop for Grenade {
        fn drop(&mut self) {
            std::panic::panic_any(Self);
        }
    }

    std::panic::panic_any(Grenade)
}
