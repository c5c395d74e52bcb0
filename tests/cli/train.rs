//! `train` and `export`.

use super::*;

#[test]
fn wrong_usage_exits_with_2_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("my.toml");
    std::fs::write(&config, "epoch = 3\n").unwrap();
    let config = config.to_str().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["train"], "--data"),
        (&["train", "--data", "d", "--organ", "heart", "--config", config], "did you mean `epochs`?"),
        (&["train", "--resume"], "--out"),
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

#[test]
fn help_shows_an_example() {
    for command in ["train", "export"] {
        let output = unet_engine(&[command, "--help"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(&format!("unet-engine {command} --")), "{text}");
    }
}
