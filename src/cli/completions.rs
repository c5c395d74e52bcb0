//! `completions`: what a shell needs to complete commands and options.

use super::{Cli, print_line};
use crate::error::Result;
use clap::CommandFactory;
use clap_complete::Shell;

const AFTER_HELP: &str = "\
Examples:
  unet-engine completions bash
  unet-engine completions fish

Put what it prints where your shell looks for it, such as ~/.local/share/bash-completion/completions/unet-engine or
~/.config/fish/completions/unet-engine.fish.";

/// Print completions of commands and options for a shell.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "unet-engine", &mut text);
    print_line(String::from_utf8_lossy(&text).trim_end())
}
