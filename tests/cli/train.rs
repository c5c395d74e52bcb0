//! `train` and `export`.

use super::*;

#[test]
fn wrong_usage_exits_with_2_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("my.toml");
    std::fs::write(&config, "epoch = 3\n").unwrap();
    let config = config.to_str().unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&["train"], "--data"),
        (&["train", "--data", "d", "--organ", "heart", "--config", config], "did you mean `epochs`?"),
        (&["train", "--resume"], "--out"),
        (&["train", "--resume", "--out", "run", "--preview", "sheet.png"], "leave --preview out"),
        (&["train", "--data", "d", "--organ", "heart", "--arch", "huge"], "standard"),
        (&["train", "--data", "d", "--organ", "heart", "--device", "gpu"], "cuda:N"),
        (&["train", "--data", "d", "--organ", "heart", "--epoch", "3"], "--epochs"),
    ];
    for (args, expected) in cases {
        let (code, stderr) = code_and_stderr(args);
        assert!(code == 2 && stderr.contains(expected), "{args:?}: {code}\n{stderr}");
    }
}

#[test]
fn a_gpu_that_is_not_there_exits_with_4() {
    let (code, stderr) = code_and_stderr(&["train", "--data", "d", "--organ", "heart", "--device", "cuda:77"]);
    assert!(code == 4 && stderr.contains("doctor"), "{code}\n{stderr}");
}

#[test]
fn exporting_what_is_no_run_exits_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let (model, out) = (folder.path().to_str().unwrap(), folder.path().join("w.safetensors"));
    let (code, stderr) = code_and_stderr(&["export", "--model", model, "--safetensors", out.to_str().unwrap()]);
    assert!(code == 3 && stderr.contains("run directory"), "{code}\n{stderr}");
    assert!(!out.exists());
}

/// Ctrl-C finishes the step, saves and says how to go on; going on reaches the end.
#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_resume_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (data, run) = (path("data"), path("run"));
    let (code, stderr) = code_and_stderr(&["synth", "--out", &data, "--series", "3", "--size", "48", "--composite", "stack"]);
    assert_eq!(code, 0, "{stderr}");
    let tiny = ["--base", "2", "--levels", "2", "--size", "32", "--epochs", "400", "--fine-tune-epochs", "0", "--threads", "1"];
    let mut args = vec!["train", "--data", &data, "--organ", "placenta", "--out", &run, "--stop-patience", "1000"];
    args.extend(tiny);
    let mut training = program(&args).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let log = folder.path().join("run/train.jsonl");
    while !log.is_file() {
        assert!(training.try_wait().unwrap().is_none(), "it ended before its first epoch");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &training.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = training.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("train --resume --out"), "{stderr}");

    let (code, stderr) = code_and_stderr(&["train", "--resume", "--out", &run, "--epochs", "3"]);
    assert!(code == 2 && stderr.contains("--epochs"), "{code}\n{stderr}");
    let mut training = program(&["train", "--resume", "--out", &run]).spawn().unwrap();
    let lines = || std::fs::read_to_string(&log).unwrap().lines().count();
    let before = lines();
    while lines() <= before {
        assert!(training.try_wait().unwrap().is_none(), "it ended before its next epoch");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    training.kill().unwrap();
    training.wait().unwrap();
}
