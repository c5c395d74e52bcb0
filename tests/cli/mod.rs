//! The program as a user runs it.

#[cfg(feature = "cuda")]
mod bench_kernels;
mod commands;
mod crashes;
mod exit_codes;
mod fiji;
mod real;
mod tiny;
mod tools;
mod train;

use std::process::{Command, Output};

/// The program with its arguments.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unet-engine"));
    // A cache of its own, not the user's.
    command.args(args).env("UNET_ENGINE_CACHE", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs the program and waits for it.
pub fn unet_engine(args: &[&str]) -> Output {
    program(args).output().expect("the program starts")
}

/// The exit code and what was said on stderr.
pub fn code_and_stderr(args: &[&str]) -> (i32, String) {
    let output = unet_engine(args);
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}
