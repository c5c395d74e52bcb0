//! Ctrl-C: where there is something to save, the first press asks to stop after the step and save, the second one ends the program
//! at once; elsewhere the first one does.

use crate::terminal::say;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Starts to watch for Ctrl-C. Later calls do nothing.
pub(super) fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let installed = ctrlc::set_handler(|| {
            if REQUESTED.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            say("stopping after this step (Ctrl-C again: at once, without saving)");
        });
        if let Err(error) = installed {
            say(&format!("warning: Ctrl-C will not save the state: {error}"));
        }
    });
}

/// For commands that have nothing to save: Ctrl-C ends the program with its exit code. Files are written whole or not at all.
pub(super) fn end_at_once() {
    // Without the handler the signal itself ends the program, which shells report as 130 too.
    let _ = ctrlc::set_handler(|| std::process::exit(130));
}

/// Whether Ctrl-C was pressed.
pub(super) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
