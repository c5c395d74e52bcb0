//! The macro for Fiji, in Debian's ImageJ with a display that nobody sees (`tools/fiji/drive`), where these are installed.
//! With UNET_ENGINE_REQUIRE_TOOLS=1 their absence is a failure.

use crate::predict::{World, stderr, text, write_grid, write_stack};
use crate::train::discs;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use unet_engine::roi::{Roi, archive};

const TOOL_MISSING: i32 = 77;
const MACRO: &str = "tools/fiji/Predict_Organs.ijm";
const COLUMNS: usize = 6;

/// `xvfb-run` looks for a free display and takes it later: two at once may take the same.
static DISPLAY: Mutex<()> = Mutex::new(());

/// What the user sees after the macro (`tools/fiji/Drive.java`); `None` where a tool is not installed and need not be.
fn drive(argument: &str, preparation: &str, picture: &Path) -> Option<Value> {
    let _alone = DISPLAY.lock().unwrap_or_else(PoisonError::into_inner);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("tools/fiji/drive"));
    command.arg(root.join(MACRO)).args([argument, preparation]).arg(picture);
    let output = command.env("UNET_ENGINE_CACHE", env!("CARGO_TARGET_TMPDIR")).output().expect("bash");
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(TOOL_MISSING) && std::env::var_os("UNET_ENGINE_REQUIRE_TOOLS").is_none_or(|v| v != "1") {
        eprintln!("not run: {said}");
        return None;
    }
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{preparation}: {e}; {said}"));
    assert!(output.status.success() && seen["dialog"].is_null(), "{preparation}: a dialog waits: {seen}; {said}");
    Some(seen)
}

/// The macro's argument, with the program under test.
fn argument(model: &Path, more: &str) -> String {
    format!("program=[{}] model=[{}] device=cpu {more}", env!("CARGO_BIN_EXE_unet-engine"), text(model))
}

/// A fresh folder for a test, whose name every shell and every list of `key=[value]` would like to take apart.
fn folder(world: &World, test: &str) -> PathBuf {
    let folder = world.path(&format!("fiji {test} Wurf Ü's 心 $HOME model=[b]"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// What the program finds in `picture` without ImageJ, as this library reads it: outlines and those for review.
fn expected(world: &World, picture: &Path, kind: &str) -> [Vec<Value>; 2] {
    let out = picture.with_extension("expected");
    let output =
        world.run(&["predict", "--model", text(&world.path("run")), text(picture), "--out", text(&out), "--device", "cpu"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let read = |archive: &str| {
        let path = out.join(picture.file_stem().unwrap()).join(archive);
        archive::read(&path).unwrap().rois.iter().map(|(_, roi)| as_seen(roi.as_ref().unwrap())).collect::<Vec<_>>()
    };
    let [outlines, review] = [read(&format!("disc{kind}_RoiSet.zip")), read(&format!("disc{kind}_review.zip"))];
    assert!(outlines.len() >= 10, "{} outlines", outlines.len());
    [outlines, review]
}

/// Without the colour: ImageJ draws members of a group in the group's own.
fn as_seen(roi: &Roi) -> Value {
    let b = roi.bounds;
    json!({
        "name": roi.name, "bounds": [b.left, b.top, b.width, b.height], "position": roi.position, "group": roi.group,
        "pixels": roi.mask_area_px(),
    })
}

/// The picture's window and file are as they were, no other window is open, and the ROI Manager holds `rois`.
fn assert_seen(seen: &Value, rois: &[Value]) {
    assert_eq!(seen["before"], seen["after"]);
    assert_eq!((&seen["after"]["active"], &seen["windows"]), (&true.into(), &1.into()), "{seen}");
    assert_eq!(seen["rois"].as_array().unwrap(), rois);
}

#[test]
fn a_composite_gets_its_outlines_and_those_for_review() {
    let world = World::shared();
    let folder = folder(world, "composite");
    // A folder of models: one that is trained, one that is not, one that is no model.
    let models = folder.join("runs");
    for other in ["unfinished", "notes"] {
        std::fs::create_dir_all(models.join(other)).unwrap();
    }
    std::fs::write(models.join("unfinished/config.toml"), "").unwrap();
    std::os::unix::fs::symlink(world.path("run"), models.join("run")).unwrap();
    let picture = folder.join("Bild ä 心.png");
    write_grid(&picture, &discs(), COLUMNS, 3);
    let [outlines, review] = expected(world, &picture, "_composite");
    let results = folder.join("results");
    let arguments = argument(&models, &format!("review results=[{}]", text(&results)));
    let Some(seen) = drive(&arguments, "saved", &picture) else { return };
    assert_eq!(seen["returned"], format!("ok: disc {} ({} for review)", outlines.len(), review.len()));
    assert_seen(&seen, &[outlines.clone(), review].concat());
    assert_eq!(seen["shown"], seen["rois"].as_array().unwrap().len());
    let log = seen["log"].as_str().unwrap();
    assert!(log.contains("composite, 5 rows x 6 columns") && log.contains("unfinished"), "{log}");
    assert!(results.join("Bild ä 心/Bild ä 心/report.html").is_file(), "{log}");
    // Outlines of an earlier picture stay unless the user wants them gone; the files of the first run stay, too.
    let Some(seen) = drive(&arguments.replace("review", "clear"), "crowded", &picture) else { return };
    assert_seen(&seen, &outlines);
    assert!(results.join("Bild ä 心-2/summary.csv").is_file());
    let Some(seen) = drive(&arguments.replace("review", ""), "crowded", &picture) else { return };
    assert_eq!(seen["rois"][0]["name"], "mine");
    assert_eq!(seen["rois"].as_array().unwrap()[1..], outlines);
}

#[test]
fn a_stack_shows_the_outlines_of_each_slice_on_that_slice() {
    let world = World::shared();
    let picture = folder(world, "stack").join("series 7.tif");
    write_stack(&picture, &discs());
    let [outlines, _] = expected(world, &picture, "");
    let Some(seen) = drive(&argument(&world.path("run"), ""), "saved", &picture) else { return };
    assert_seen(&seen, &outlines);
    assert!(outlines.iter().any(|roi| roi["position"] == 30), "an outline on the last slices");
    let on_first = outlines.iter().filter(|roi| roi["position"] == 1).count();
    assert_eq!(seen["shown"], on_first);
}

#[test]
fn what_is_seen_is_what_is_outlined_whatever_the_file_holds() {
    let world = World::shared();
    let folder = folder(world, "changed");
    let (picture, negative) = (folder.join("picture.png"), folder.join("negative.png"));
    write_grid(&negative, &discs(), COLUMNS, 3);
    let mut pixels = image::open(&negative).unwrap();
    pixels.invert();
    pixels.save(&picture).unwrap();
    // The file is the negative of what the model knows; inverted in its window, with or without a selection there, it is not.
    let [outlines, _] = expected(world, &negative, "_composite");
    for preparation in ["changed", "selected"] {
        let Some(seen) = drive(&argument(&world.path("run"), ""), preparation, &picture) else { return };
        assert_seen(&seen, &outlines);
    }
    let Some(seen) = drive(&argument(&world.path("run"), ""), "unsaved", &negative) else { return };
    assert_seen(&seen, &outlines);
}

#[test]
fn the_dialog_asks_once_and_remembers() {
    let world = World::shared();
    let picture = folder(world, "asked").join("picture.png");
    write_grid(&picture, &discs(), COLUMNS, 3);
    let [outlines, _] = expected(world, &picture, "_composite");
    let answers = format!("{}\n{}\ncpu", env!("CARGO_BIN_EXE_unet-engine"), text(&world.path("run")));
    let Some(seen) = drive(&answers, "asked", &picture) else { return };
    assert_seen(&seen, &outlines);
    assert_eq!(seen["remembered"], text(&world.path("run")));
}

#[test]
fn nothing_found_is_an_answer_and_a_failure_says_why() {
    let world = World::shared();
    let folder = folder(world, "failures");
    let picture = folder.join("picture.png");
    write_grid(&picture, &discs(), COLUMNS, 3);
    let (run, nowhere) = (world.path("run"), folder.join("nowhere"));
    let no_program = format!("program=[{}] model=[{}]", text(&nowhere), text(&run));
    let cases = [
        (argument(&run, "review options=[--threshold 1 --min-area 9]"), "ok: disc 0 (", ""),
        (argument(&nowhere, ""), "error: ", "nowhere: expected a run directory with a trained model"),
        (no_program, "error: ", "give the full path of the program"),
        (argument(&run, "options=[--treshold 1]"), "error: ", "--threshold"),
        (argument(&run, "colour=red"), "error: ", "unknown key colour"),
        (argument(&run, "results=[/x"), "error: ", "no closing bracket"),
        ("review".to_owned(), "error: ", "model=[FOLDER] is missing"),
    ];
    for (argument, begin, part) in cases {
        let Some(seen) = drive(&argument, "saved", &picture) else { return };
        let returned = seen["returned"].as_str().unwrap();
        assert!(returned.starts_with(begin) && returned.contains(part), "{argument}: {returned}");
        let log = seen["log"].as_str().unwrap();
        assert!(log.contains(part), "{argument}: {log}");
        if begin == "error: " {
            assert_seen(&seen, &[]);
        }
    }
    let Some(seen) = drive(&argument(&run, ""), "none", &picture) else { return };
    assert_eq!(seen["returned"], "error: no picture is open; open one, then run this again");
}
