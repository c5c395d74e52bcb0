//! On which machine and with which program a run was made.

use super::config::Config;
use crate::atomic_file;
use crate::backend::Backend;
use crate::checkpoint::RunFiles;
use crate::error::{Error, Result};
use crate::terminal::say;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Serialize, Deserialize)]
struct Environment {
    version: String,
    target: String,
    device: String,
    /// The instruction set whose bits the results depend on.
    architecture: String,
    started_utc: String,
}

/// Writes `environment.json`.
pub(super) fn write(files: &RunFiles, backend: &dyn Backend) -> Result<()> {
    let environment = Environment {
        version: env!("CARGO_PKG_VERSION").into(),
        target: env!("UNET_ENGINE_TARGET").into(),
        device: backend.describe(),
        architecture: backend.architecture(),
        started_utc: utc_now(),
    };
    atomic_file::write(&files.environment(), &pretty_json(&environment)?)
}

/// Warns when a run goes on with another instruction set than it began with, for the bits then differ, or when its file does not say.
pub(super) fn warn_of_another_machine(files: &RunFiles, backend: &dyn Backend) {
    let text = std::fs::read_to_string(files.environment()).unwrap_or_default();
    let Ok(began) = serde_json::from_str::<Environment>(&text) else {
        say("warning: environment.json is missing or damaged: nothing says whether this run began on the same instruction set");
        return;
    };
    if began.architecture != backend.architecture() {
        say(&format!(
            "warning: this run began on {}, it goes on on {}: the numbers will differ in their last digits",
            began.architecture,
            backend.architecture()
        ));
    }
}

/// `runs/<organ>-<arch>-<time>`.
pub(super) fn default_run_dir(config: &Config) -> PathBuf {
    let arch = format!("{:?}", config.arch).to_lowercase();
    Path::new("runs").join(format!("{}-{arch}-{}", config.organ, utc_now().replace([':', 'Z'], "").replace('T', "-")))
}

pub(super) fn pretty_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Error::run("cannot write JSON").caused_by(e))?;
    text.push('\n');
    Ok(text.into_bytes())
}

fn utc_now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    utc(seconds)
}

/// Seconds since 1970 as ISO 8601. Days to date after Howard Hinnant's `civil_from_days`.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::utc;

    /// Expected values: `date -u -d @SECONDS`.
    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_735_689_599), "2024-12-31T23:59:59Z");
    }
}
