use super::*;

/// Every command with its words (`roi`, `roi info`), help left aside.
fn commands(of: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
    for command in of.get_subcommands().filter(|c| c.get_name() != "help") {
        let words = format!("{words} {}", command.get_name());
        commands(command, &words, found);
        found.push((words, command.clone()));
    }
}

fn all_commands() -> Vec<(String, clap::Command)> {
    let mut found = Vec::new();
    commands(&command(), "unet-engine", &mut found);
    assert!(found.len() >= 12, "{} commands", found.len());
    found
}

/// What the README promises: each command's help shows how it is used.
#[test]
fn every_command_has_examples() {
    for (words, mut command) in all_commands() {
        let help = command.render_long_help().to_string();
        assert!(help.contains("Example") && help.contains(&words), "{words} --help shows no example:\n{help}");
    }
}

/// An example that the program refuses would teach what is wrong.
#[test]
fn examples_are_right_usage() {
    let mut n_examples = 0;
    for (words, command) in all_commands() {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("unet-engine ")) {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            assert!(parsed.is_ok(), "{words}: {line}: {}", parsed.err().map(|e| e.to_string()).unwrap_or_default());
            n_examples += 1;
        }
    }
    assert!(n_examples >= 20, "{n_examples} examples");
}
