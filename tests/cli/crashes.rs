//! A training that is killed at any moment goes on, bit for bit, as if nothing had happened; one that cannot write leaves what it had.

use super::tiny::{Tiny, text};
use super::*;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The log's lines without what depends on the clock.
fn log_of(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(run.join("train.jsonl")).unwrap();
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        for name in ["seconds", "images_per_s"] {
            value.as_object_mut().unwrap().remove(name).unwrap();
        }
        value
    };
    text.lines().map(line).collect()
}

/// Both runs are finished and the same, but for times; and nothing is left of writes that were cut short.
#[track_caller]
pub fn assert_same(whole: &Path, run: &Path, what: &str) {
    for name in ["checkpoints/last.safetensors", "checkpoints/best.safetensors", "calibration.json", "splits.json", "config.toml"]
    {
        let [expected, found] =
            [whole, run].map(|run| std::fs::read(run.join(name)).unwrap_or_else(|e| panic!("{what}: {name}: {e}")));
        assert!(expected == found, "{what}: {name} differs");
    }
    assert_eq!(log_of(whole), log_of(run), "{what}");
    assert!(run.join("report.html").is_file(), "{what}: no report");
    for folder in [run.to_path_buf(), run.join("checkpoints")] {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let left: Vec<_> = entries.filter(|path| unet_engine::atomic_file::is_temporary(path)).collect();
        assert!(left.is_empty(), "{what}: {left:?} were left behind");
    }
}

/// Runs to the end; says what was wrong if that fails.
#[track_caller]
fn finish(command: &mut std::process::Command, what: &str) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{what}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Every file that is written has four points: before it, half written, before the rename, after it. One that is kept under another
/// name has three, and so has a line of the log. The process ends at each of them in turn.
#[test]
fn killed_inside_any_write_it_goes_on_bit_for_bit() {
    if !cfg!(debug_assertions) {
        eprintln!("not run: a release build has no crash points");
        return;
    }
    let tiny = Tiny::new();
    let whole = tiny.whole();
    let (next, n_points) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    let work = || {
        loop {
            let point = next.fetch_add(1, Ordering::SeqCst);
            let run = tiny.path(&format!("point-{point}"));
            if point > n_points.load(Ordering::SeqCst) {
                return;
            }
            let output = tiny.train(&run).env("UNET_ENGINE_TEST_ABORT_AT", point.to_string()).output().unwrap();
            if output.status.success() {
                n_points.fetch_min(point - 1, Ordering::SeqCst);
                return;
            }
            assert_eq!(output.status.code(), None, "{}", String::from_utf8_lossy(&output.stderr));
            finish(&mut tiny.go_on(&run), &format!("killed at point {point}"));
            assert_same(&whole, &run, &format!("killed at point {point}"));
        }
    };
    std::thread::scope(|scope| (0..2).map(|_| scope.spawn(work)).for_each(drop));
    // 5 files before the first step and 3 at the end. In each of 3 epochs a line of the log, `previous` and `last`, which are a file
    // and a checksum each; where it improves also `best`, and from the second time on `former-best`.
    let (line, kept, written) = (3, 3 + 4, 4 + 4);
    let epoch = line + kept + written;
    let fewest = 4 * (5 + 3) + 3 * epoch;
    let most = fewest + 3 * written + 2 * kept;
    let n_points = n_points.into_inner();
    assert!((fewest..=most).contains(&n_points), "{n_points} points, expected {fewest} to {most}");
}

/// A run that is killed again and again, in what it does after a crash as well.
#[test]
fn killed_again_and_again_it_comes_to_the_same_end() {
    if !cfg!(debug_assertions) {
        eprintln!("not run: a release build has no crash points");
        return;
    }
    let tiny = Tiny::new();
    let whole = tiny.whole();
    // The first checkpoint needs 20 points, an epoch at most 33.
    for every in [34, 40, 47] {
        let run = tiny.path(&format!("every-{every}"));
        let kill = |_: &usize| {
            let output = tiny.go_on(&run).env("UNET_ENGINE_TEST_ABORT_AT", every.to_string()).output().unwrap();
            assert!(output.status.success() || output.status.code().is_none(), "{}", String::from_utf8_lossy(&output.stderr));
            !output.status.success()
        };
        let n_killed = (0..40).take_while(kill).count();
        assert!((2..40).contains(&n_killed), "killed {n_killed} times at every {every}th point");
        assert_same(&whole, &run, &format!("killed at every {every}th point"));
    }
}

/// SIGKILL from outside, at times that nobody chose.
#[cfg(unix)]
#[test]
fn killed_at_any_time_it_goes_on_bit_for_bit() {
    let tiny = Tiny::new();
    let started = Instant::now();
    let whole = tiny.whole();
    let mut longest = started.elapsed().as_secs_f64();
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_124);
    let mut random = unet_engine::random::Philox::new(seed, 0, 0, unet_engine::random::Purpose::Bench);
    let (mut n_killed, mut times) = (0, Vec::new());
    for i in 0..6 {
        let run = tiny.path(&format!("killed-{i}"));
        for _ in 0..3 {
            let seconds = f64::from(random.uniform()) * longest;
            times.push(seconds);
            let quiet = std::process::Stdio::null;
            let mut training = tiny.go_on(&run).stdout(quiet()).stderr(quiet()).spawn().unwrap();
            std::thread::sleep(Duration::from_secs_f64(seconds));
            training.kill().unwrap();
            if training.wait().unwrap().success() {
                // Faster than its killer, who measured while other tests ran.
                longest /= 2.0;
                break;
            }
            n_killed += 1;
        }
        let what = format!("seed {seed}, run {i}, killed after {times:.3?} s");
        finish(&mut tiny.go_on(&run), &what);
        assert_same(&whole, &run, &what);
    }
    assert!(n_killed > 0, "every training was faster than its killer");
}

/// A line of the log of which half was written, and the same with a line too much.
#[test]
fn a_torn_log_is_mended() {
    if !cfg!(debug_assertions) {
        eprintln!("not run: a release build has no crash points");
        return;
    }
    let tiny = Tiny::new();
    let whole = tiny.whole();
    let log = std::fs::read_to_string(whole.join("train.jsonl")).unwrap();
    for torn in [&log[..40], &log[..]] {
        let run = tiny.path("torn");
        let _ = std::fs::remove_dir_all(&run);
        interrupt_after_an_epoch(&tiny, &run);
        let mut text = std::fs::read_to_string(run.join("train.jsonl")).unwrap();
        text.push_str(torn);
        std::fs::write(run.join("train.jsonl"), text).unwrap();
        finish(&mut tiny.go_on(&run), "a torn log");
        assert_same(&whole, &run, "a torn log");
    }
}

/// The run as it is after its first epoch, whatever the machine's speed: copied from one that is killed in the second epoch's write.
fn interrupt_after_an_epoch(tiny: &Tiny, run: &Path) {
    // 5 files, then best and last with their checksums; the next point is the second epoch's.
    let output = tiny.train(run).env("UNET_ENGINE_TEST_ABORT_AT", (4 * 9 + 1).to_string()).output().unwrap();
    assert!(!output.status.success() && run.join("checkpoints/best.safetensors").is_file());
}

/// A disk without room, imitated by a limit on the size of files. `sh` sets it and leaves the signal that comes with it aside.
#[cfg(unix)]
fn with_little_room(command: &std::process::Command, blocks: u32) -> std::process::Output {
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh", &blocks.to_string()]);
    limited.arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.output().unwrap()
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_good_state() {
    let tiny = Tiny::new();
    let whole = tiny.whole();
    // No room for the first checkpoint: nothing to go on with but the configuration.
    let run = tiny.path("full-at-once");
    let output = with_little_room(&tiny.train(&run), 4);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains("disk is not full"), "{}: {stderr}", output.status);
    finish(&mut tiny.go_on(&run), "a disk that was full at once");
    assert_same(&whole, &run, "a disk that was full at once");
    // No room in the middle: the state before it stays.
    if cfg!(debug_assertions) {
        let run = tiny.path("full-later");
        interrupt_after_an_epoch(&tiny, &run);
        let before = std::fs::read(run.join("checkpoints/last.safetensors")).unwrap();
        let output = with_little_room(&tiny.go_on(&run), 4);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.contains("disk is not full"), "{}: {stderr}", output.status);
        assert!(before == std::fs::read(run.join("checkpoints/last.safetensors")).unwrap());
        finish(&mut tiny.go_on(&run), "a disk that was full later");
        assert_same(&whole, &run, "a disk that was full later");
    }
}

/// The data folder is read, never written; here nobody but root could write it, and nothing in it may change for root either.
#[cfg(unix)]
#[test]
fn a_read_only_data_folder_is_enough() {
    use std::os::unix::fs::PermissionsExt;
    let tiny = Tiny::new();
    let all = || {
        let folders = ["", "images", "masks"].map(|name| tiny.data().join(name));
        let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
        let mut files: Vec<_> =
            entries.map(|entry| entry.unwrap()).map(|e| (e.path(), e.metadata().unwrap().modified().unwrap())).collect();
        files.sort();
        files
    };
    let before = all();
    let set = |mode| std::fs::set_permissions(tiny.data(), std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o555);
    let run = tiny.path("run");
    finish(&mut tiny.train(&run), "a read-only data folder");
    finish(&mut program(&["inspect", &text(&tiny.data())]), "a read-only data folder");
    set(0o755);
    assert_eq!(before, all());
}

/// A file stands where a folder should be: permissions do not bind root, this does.
#[test]
fn an_output_that_cannot_be_written_leaves_the_last_good_state() {
    let tiny = Tiny::new();
    let file = tiny.path("file");
    std::fs::write(&file, "of value").unwrap();
    let output = tiny.train(&file.join("run")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains("create the run directory"), "{}: {stderr}", output.status);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "of value");
    // The last file of a training cannot be written: a folder of that name stands there.
    let (whole, run) = (tiny.whole(), tiny.path("blocked"));
    let blocked = run.join("calibration.json");
    if cfg!(debug_assertions) {
        interrupt_after_an_epoch(&tiny, &run);
        std::fs::create_dir_all(blocked.join("inside")).unwrap();
        let output = tiny.go_on(&run).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::remove_dir_all(&blocked).unwrap();
        finish(&mut tiny.go_on(&run), "a blocked file");
        assert_same(&whole, &run, "a blocked file");
    }
}

/// The same command with `--resume`, from the same folder: its path of the weights is the one that the run keeps as an absolute one.
#[test]
fn foreign_weights_named_by_a_relative_path_do_not_stop_a_resumed_run() {
    if !cfg!(debug_assertions) {
        eprintln!("not run: a release build has no crash points");
        return;
    }
    let tiny = Tiny::new();
    let (whole, weights, run) = (tiny.whole(), tiny.path("weights.safetensors"), tiny.path("with-weights"));
    let output = unet_engine(&["export", "--model", &text(&whole), "--safetensors", &text(&weights)]);
    assert!(output.status.success());
    let train = |resume: &[&str]| {
        let mut command = tiny.train(&run);
        command.args(["--init", "weights.safetensors"]).args(resume).current_dir(weights.parent().unwrap());
        command
    };
    let output = train(&[]).env("UNET_ENGINE_TEST_ABORT_AT", "30").output().unwrap();
    assert_eq!(output.status.code(), None, "{}", String::from_utf8_lossy(&output.stderr));
    finish(&mut train(&["--resume"]), "the same command with --resume");
    let other = unet_engine(&["train", "--resume", "--out", &text(&run), "--init", "other.safetensors"]);
    assert!(String::from_utf8_lossy(&other.stderr).contains("--init"), "other weights are another training");
    let checkpoint = text(&whole.join("checkpoints/best.safetensors"));
    let output = tiny.train(&tiny.path("from-a-checkpoint")).args(["--init", &checkpoint]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("unet-engine export"), "a checkpoint has other layouts");
}
