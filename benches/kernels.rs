//! `cargo bench --bench kernels [-- OPTIONS]`: the same as `unet-engine bench kernels [OPTIONS]`, in a release build.
//!
//! Without a GPU it says so and measures nothing.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    // Cargo adds this one itself.
    let options = std::env::args().skip(1).filter(|option| option != "--bench");
    let mut command = Command::new(env!("CARGO_BIN_EXE_unet-engine"));
    match command.args(["bench", "kernels"]).args(options).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        // No device: that is said, and nothing of it is a fault of the benchmark.
        Ok(status) if status.code() == Some(4) => ExitCode::SUCCESS,
        Ok(_) | Err(_) => ExitCode::FAILURE,
    }
}
