//! The command line: one subcommand a file.
//!
//! Results go to stdout, progress and logs to stderr. `--json` prints one JSON value in place of text. Exit codes: 0 done, 1 the run
//! failed, 2 wrong usage, 3 input data invalid, 4 device or memory, 130 interrupted (see [`crate::error::ErrorKind`]).

mod bench;
mod calibrate;
mod completions;
mod demo;
mod doctor;
mod evaluate;
mod export;
mod inspect;
mod interrupt;
mod predict;
mod roi;
mod several;
mod synth;
mod train;

use crate::error::{Error, ErrorKind, Result};
use crate::terminal::say;
use crate::train::config::say_default;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
The usual way:
  unet-engine inspect litters                                     what is in the data
  unet-engine train --data litters --organ heart --out runs/heart
  unet-engine evaluate --model runs/heart --data litters
  unet-engine predict --model runs/heart new-litter.tif --out predictions

Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 input data invalid, 4 device or memory, 130 interrupted.";

/// Train U-Nets on annotated ultrasound series and get ImageJ ROI files back.
#[derive(Parser)]
#[command(name = "unet-engine", version, about, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Synth(synth::Args),
    Inspect(inspect::Args),
    Train(Box<train::Args>),
    Evaluate(evaluate::Args),
    Predict(predict::Args),
    Calibrate(calibrate::Args),
    Roi(roi::Args),
    Export(export::Args),
    Bench(bench::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
}

/// Runs the program: parses the command line, executes the command, prints the error.
pub fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// The command line's description.
fn command() -> clap::Command {
    Cli::command().mut_subcommand("train", |train| train.mut_args(say_default))
}

fn dispatch(command: Command) -> Result<()> {
    if !matches!(command, Command::Demo(_) | Command::Train(_) | Command::Predict(_)) {
        interrupt::end_at_once();
    }
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Synth(args) => synth::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Roi(args) => roi::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Writes a line to stdout; a reader that went away (`| head`) ends the program quietly, as other filters do.
fn print_line(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|e| Error::new(ErrorKind::Run, "cannot write to stdout").caused_by(e)),
    }
}

/// Writes a value as JSON to stdout.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::run("cannot write JSON").caused_by(e))?;
    print_line(&text)
}

/// The error about pictures or annotations that could not be read while the rest went on; no error if there are none.
fn left_out_error(left_out: &[Error]) -> Result<()> {
    let [first, rest @ ..] = left_out else { return Ok(()) };
    let mut text = format!("{} could not be read and were left out:\n    {first}", left_out.len());
    for error in rest {
        text.push_str(&format!("\n    {error}"));
    }
    Err(Error::new(ErrorKind::Data, text).remedy("repair or remove them; --keep-going makes this no failure"))
}

#[cfg(test)]
mod tests;
