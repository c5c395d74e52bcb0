//! What a person sees of a training, on stderr: a line per epoch, and on a terminal a bar with an estimate of the time left.

use super::store::EpochLine;
use crate::terminal::say;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The bar is redrawn at most this often, so that a step costs nothing.
const REDRAW: Duration = Duration::from_millis(250);

/// Follows a training.
pub(crate) struct Progress {
    /// Only on a terminal.
    bar: Option<ProgressBar>,
    drawn: Instant,
    /// What the bar says of the last finished epoch.
    last_epoch: String,
}

impl Progress {
    /// For a training of at most `n_steps` steps, of which `done` are done.
    pub fn new(n_steps: u64, done: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(n_steps), ProgressDrawTarget::stderr());
            // No colours at all, so NO_COLOR is honoured without asking.
            if let Ok(style) = ProgressStyle::with_template("[{bar:24}] {msg}, at most {eta} left") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_position(done);
            bar.reset_eta();
            bar
        });
        Progress { bar, drawn: Instant::now(), last_epoch: String::new() }
    }

    /// Takes note of a step of epoch `epoch` (from 0).
    pub fn step(&mut self, epoch: u32, step: u64, loss: f32, images_per_s: f64) {
        let Some(bar) = &self.bar else { return };
        if self.drawn.elapsed() >= REDRAW {
            self.drawn = Instant::now();
            bar.set_position(step);
            bar.set_message(format!("epoch {}, loss {loss:.4}, {images_per_s:.1} images/s{}", epoch + 1, self.last_epoch));
        }
    }

    /// Says what an epoch has brought. `left` is an upper bound of the epochs that are left.
    pub fn epoch(&mut self, line: &EpochLine, is_best: bool, left: usize) {
        let phase = if line.phase == super::state::Phase::FineTune { " (fine-tuning)" } else { "" };
        let best = if is_best { ", best so far" } else { "" };
        let skipped = match (line.skipped_steps, line.loss_scale) {
            (Some(1..), Some(scale)) => format!(", {} steps skipped (loss scale {scale})", line.skipped_steps.unwrap_or(0)),
            _ => String::new(),
        };
        let seconds = left as f64 * line.seconds;
        let text = format!(
            "epoch {}{phase}: loss {:.4}, validation loss {:.4}, Dice {}, precision {}, {:.1} images/s, at most {} left{best}{skipped}",
            line.epoch,
            line.train_loss,
            line.val_loss,
            score(line.val_dice),
            score(line.val_precision),
            line.images_per_s,
            duration(seconds),
        );
        self.last_epoch = format!(" (last epoch: Dice {}, precision {})", score(line.val_dice), score(line.val_precision));
        self.say(&text);
    }

    /// Writes a line above the bar.
    pub fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(text)),
            None => say(text),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn score(value: Option<f64>) -> String {
    value.map_or_else(|| "none".into(), |value| format!("{value:.3}"))
}

/// Seconds in words: `45 s`, `12 min`, `3 h 05 min`.
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        0..2 => format!("{seconds:.0} s"),
        2..60 => format!("{minutes} min"),
        _ => format!("{} h {:02} min", minutes / 60, minutes % 60),
    }
}

/// Bytes in words: `312 MB`.
pub(crate) fn megabytes(bytes: usize) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 10.0 { format!("{megabytes:.1} MB") } else { format!("{megabytes:.0} MB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_in_words() {
        assert_eq!([3.4, 61.0, 125.0, 11_100.0].map(duration), ["3 s", "61 s", "2 min", "3 h 05 min"]);
        assert_eq!([1_500_000, 312_400_000].map(megabytes), ["1.5 MB", "312 MB"]);
        assert_eq!(score(None), "none");
    }
}
