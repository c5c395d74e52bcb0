//! What is said to a person beside the results: lines on stderr.

use std::io::Write;

/// Writes a line to stderr. Not `eprintln!`: a stderr that went away is no reason to panic, or to stop a training of hours.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says what looks wrong: the first few one by one, then how many more there are and where they are listed.
pub fn say_warnings(warnings: &[String]) {
    const SHOWN: usize = 5;
    for warning in warnings.iter().take(SHOWN) {
        say(&format!("warning: {warning}"));
    }
    if warnings.len() > SHOWN {
        say(&format!("warning: and {} more; `unet-engine inspect` lists them all", warnings.len() - SHOWN));
    }
}
