//! Ctrl-C: the first press asks to stop after the step and save, the second one ends the program at once.

use std::io::Write;
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
            let _ = writeln!(std::io::stderr(), "stopping after this step (Ctrl-C again: at once, without saving)");
        });
        if let Err(error) = installed {
            let _ = writeln!(std::io::stderr(), "warning: Ctrl-C will not save the state: {error}");
        }
    });
}

/// Whether Ctrl-C was pressed.
pub(super) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}
