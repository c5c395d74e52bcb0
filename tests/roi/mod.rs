//! ROI files: against ImageJ's own reading, hostile bytes, round trips, archives, the command.

mod archives;
mod command;
mod expected;
pub mod foreign;
mod hostile;
mod judge;
mod round_trips;
