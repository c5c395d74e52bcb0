//! Every exit code of the README's table is provoked.

use super::tiny::{Tiny, text};
use super::*;

/// The code, and what was said on stderr.
fn outcome(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[track_caller]
fn expect(output: &Output, code: i32, words: &[&str]) {
    let (found, stderr) = outcome(output);
    assert_eq!(found, code, "{stderr}");
    assert!(words.iter().all(|word| stderr.contains(word)), "expected {words:?} in: {stderr}");
}

#[test]
fn the_readme_lists_the_codes_that_are_tested_here() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let table = readme.lines().skip_while(|line| !line.starts_with("| exit code")).skip(2);
    let codes: Vec<&str> = table.map_while(|line| line.strip_prefix("| ")?.split(' ').next()).collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "130"]);
}

#[test]
fn done_is_0() {
    expect(&unet_engine(&["doctor"]), 0, &[]);
    let tiny = Tiny::new();
    expect(&tiny.train(&tiny.path("run")).output().unwrap(), 0, &[]);
}

/// Besides the full disks of `crashes`: a training that diverges, and results that nobody can take.
#[test]
fn a_failed_run_is_1() {
    let tiny = Tiny::new();
    expect(&tiny.train_with(&tiny.path("run"), &[("--lr", "1e30")]).output().unwrap(), 1, &["--lr"]);
    if std::path::Path::new("/dev/full").exists() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let roi = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/roi/polygon.roi");
        expect(&program(&["roi", "info", roi]).stdout(full).output().unwrap(), 1, &["stdout"]);
    } else {
        eprintln!("not run: there is no /dev/full");
    }
}

#[test]
fn wrong_usage_is_2() {
    for args in [&["frobnicate"][..], &["train"], &["train", "--resume"], &["predict", "--model"], &["train", "--batch", "many"]]
    {
        expect(&unet_engine(args), 2, &[]);
    }
    let tiny = Tiny::new();
    let whole = tiny.whole();
    expect(&tiny.train(&whole).output().unwrap(), 2, &["exists already", "--resume"]);
}

/// Alone, a broken picture is an error; among others, the rest goes on, and `--keep-going` makes it none.
#[test]
fn invalid_input_is_3() {
    let tiny = Tiny::new();
    let (run, broken) = (text(&tiny.whole()), tiny.path("broken.png"));
    std::fs::write(&broken, "no picture").unwrap();
    let (good, broken) = (text(&tiny.data().join("images/5.png")), text(&broken));
    expect(&unet_engine(&["inspect", "no/such/folder"]), 3, &["no/such/folder"]);
    expect(&unet_engine(&["roi", "info", &broken]), 3, &["broken.png"]);
    expect(&unet_engine(&["export", "--model", "no-run", "--safetensors", "weights"]), 3, &["no-run"]);
    let out = text(&tiny.path("predictions"));
    expect(&unet_engine(&["predict", "--model", &run, &broken, "--out", &out]), 3, &["broken.png"]);
    let both = ["predict", "--model", &run, &broken, &good, "--out", &out];
    expect(&unet_engine(&both), 3, &["broken.png", "--keep-going"]);
    assert!(tiny.path("predictions/summary.csv").is_file(), "the rest went on");
    expect(&unet_engine(&[&both[..], &["--keep-going"]].concat()), 0, &["broken.png"]);
}

#[test]
fn a_missing_device_is_4() {
    let tiny = Tiny::new();
    let on = |device| tiny.train_with(&tiny.path(device), &[("--device", device)]).output().unwrap();
    let output = on("cuda");
    match output.status.success() {
        true => eprintln!("not run: this machine has a usable GPU"),
        false => expect(&output, 4, &["doctor"]),
    }
    // No machine has this many.
    expect(&on("cuda:77"), 4, &["doctor"]);
}

/// `auto` goes on to the CPU where there is no GPU, but not past a wish that was mistyped.
#[cfg(feature = "cuda")]
#[test]
fn auto_reports_a_mistyped_architecture() {
    let Some(embedded) = unet_engine::backend::cuda::KERNEL_ARCHITECTURES.iter().find(|target| **target == "compute_70") else {
        eprintln!("not run: this build holds no kernels of compute_70");
        return;
    };
    let tiny = Tiny::new();
    let on_auto = |run: &str, wish: &str| {
        let mut training = tiny.train_with(&tiny.path(run), &[("--device", "auto")]);
        training.env("UNET_ENGINE_CUDA_ARCH", wish).output().unwrap()
    };
    expect(&on_auto("mistyped", "compute_7O"), 2, &["UNET_ENGINE_CUDA_ARCH=compute_7O", "embedded: "]);
    assert!(!tiny.path("mistyped").exists());
    expect(&on_auto("unset", ""), 0, &[]);
    expect(&on_auto("right", embedded), 0, &[]);
}

/// A network that does not fit into the memory that the shell allows.
#[cfg(target_os = "linux")]
#[test]
fn short_memory_is_4() {
    let tiny = Tiny::new();
    let run = tiny.path("run");
    let training = tiny.train_with(&run, &[("--size", "4096"), ("--base", "256")]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 3000000; exec \"$@\"", "sh"]).arg(training.get_program()).args(training.get_args());
    limited.envs(training.get_envs().filter_map(|(name, value)| Some((name, value?))));
    expect(&limited.output().unwrap(), 4, &["memory", "--size"]);
    assert!(!run.exists(), "nothing is left of a run that cannot begin");
}

/// Ctrl-C saves, and going on comes to the same end as a run that was left alone.
#[cfg(unix)]
#[test]
fn an_interruption_is_130_and_the_run_goes_on() {
    let tiny = Tiny::new();
    let long = |run| {
        let mut command = tiny.train_with(run, &[("--epochs", "80")]);
        command.args(["--stop-patience", "1000"]).stderr(std::process::Stdio::piped());
        command
    };
    let (whole, run) = (tiny.path("whole"), tiny.path("run"));
    expect(&long(&whole).output().unwrap(), 0, &[]);
    let mut training = long(&run).spawn().unwrap();
    while !run.join("train.jsonl").is_file() {
        assert!(training.try_wait().unwrap().is_none(), "it ended before its first epoch");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-INT", &training.id().to_string()]).status().unwrap().success());
    expect(&training.wait_with_output().unwrap(), 130, &["the state is saved", "--resume"]);
    expect(&tiny.go_on(&run).output().unwrap(), 0, &[]);
    crashes::assert_same(&whole, &run, "interrupted and resumed");
}
