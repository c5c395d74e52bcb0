//! Parses the command line, calls the library, prints the error, sets the exit code.

fn main() -> std::process::ExitCode {
    unet_engine::cli::main()
}
