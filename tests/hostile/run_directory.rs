//! What a run directory says in JSON: the operating point, the split, and the description of the network.

use super::mutate::Corpus;
use super::runner::Suite;
use super::targets;

const CALIBRATION: &str = r#"{"point":{"threshold":0.45,"min_area":12,"opening":1,"closing":2,"fill_holes":true},"f_half":0.9,
"pixel_precision":0.95,"object_precision":null,"objects":{"true_positive":18446744073709551615,"false_positive":3,"false_negative":1},
"min_precision":0.9,"reached":true,
"review":{"threshold":0.2,"object_precision":0.5,"objects":{"true_positive":2,"false_positive":2,"false_negative":0}},
"curve":[{"threshold":0.45,"pixel_precision":0.95,"pixel_recall":0.8,"object_precision":null,"object_recall":0.5}]}"#;

const SPLITS: &str =
    r#"{"train":["a","b#1"],"val":["c"],"test":["d"],"by_image":false,"seed":7,"seen":["00ff","a1"],"annotations":"0f"}"#;

const WORDS: [&str; 14] =
    ["{", "}", "[", "]", "\"", ":", ",", "null", "true", "\"levels\":", "\"opening\":", "-", "\\ud800", "\"residual\""];

/// The texts of a good run; see [`targets::run_directory`].
fn good() -> Vec<u8> {
    let example = targets::example();
    let header = serde_json::json!({"model": example.description, "state": example.state});
    [CALIBRATION.as_bytes(), b"\0", SPLITS.as_bytes(), b"\0", header.to_string().as_bytes()].concat()
}

fn bound(bytes: &[u8]) -> usize {
    (2 << 20) + 256 * bytes.len()
}

#[test]
fn mutants() {
    assert!(targets::run_directory(&good()), "the good run is good");
    let corpus = Corpus { files: vec![good()], words: &WORDS };
    Suite { name: "run_directory", corpus, n_mutants: 12_000, run: targets::run_directory, bound, repair: None }.test();
}

/// What `calibrate` writes and `predict --calibration` reads.
#[test]
fn joint_mutants() {
    let models = r#"[{"checksum":"00ff","name":"a"},{"checksum":"a1","name":"b"}]"#;
    let good = format!(
        r#"{{"organ":"disc","models":{models},"flips":true,"series":["c"],"images":6,"seen":["0a"],"calibration":{CALIBRATION}}}"#
    );
    assert!(targets::joint_calibration(good.as_bytes()), "the good file is good");
    let corpus = Corpus { files: vec![good.into_bytes()], words: &WORDS };
    Suite { name: "joint_calibration", corpus, n_mutants: 6_000, run: targets::joint_calibration, bound, repair: None }.test();
}

/// Numbers that once made the program panic, or would have had it compute for years.
#[test]
fn absurd_numbers_are_refused() {
    let changes = [
        ("\"levels\":1", "\"levels\":70"),
        ("\"base\":2", "\"base\":0"),
        ("\"base\":2", "\"base\":9223372036854775807"),
        ("\"channels_in\":1", "\"channels_in\":3"),
        ("[16,16]", "[0,0]"),
        ("[16,16]", "[17,16]"),
        ("[16,16]", "[16,4294967296]"),
        ("\"opening\":1", "\"opening\":4000000000"),
        ("\"closing\":2", "\"closing\":18446744073709551615"),
        ("\"threshold\":0.45", "\"threshold\":1e300"),
        ("\"deviation\":0.25", "\"deviation\":0.0"),
        ("\"deviation\":0.25", "\"deviation\":1e-40"),
        ("\"mean\":0.4", "\"mean\":1e300"),
    ];
    let good = String::from_utf8(good()).expect("text");
    for (from, to) in changes {
        assert!(good.contains(from), "{from}");
        assert!(!targets::run_directory(good.replace(from, to).as_bytes()), "{to} was accepted");
    }
}
