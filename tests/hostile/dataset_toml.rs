//! `dataset.toml`.

use super::mutate::Corpus;
use super::runner::Suite;
use super::targets;

const FILES: [&str; 4] = [
    r#"root = "/data/usgra"
images = "images"
group = 35
coordinates = "sub-image"
grid = { rows = 5, columns = 7, border = 2 }
[organ.nerve]
mask = "masks/{stem}.png"
value = 1
instances = "components"
[series.odd]
grid = { rows = 7, columns = 5 }
coordinates = "composite"
"#,
    "[organ.heart]\nfolder = \"hearts\"\nword = \"heart\"\n[organ.liver]\nword = 'li'\n[series.\"litter 01\".grid]\nrows = 1\ncolumns = 35\n",
    "images = 'i'\ngroup = \"all\" # one series\n",
    "grid.rows = 5\ngrid.columns = 7\n",
];

const WORDS: [&str; 16] = [
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'''",
    "\n",
    "=",
    ".",
    "[[organ]]",
    "[series.odd]",
    "grid",
    "rows = ",
    "group = \"each\"\n",
    "\\u0000",
    "nan",
];

fn bound(bytes: &[u8]) -> usize {
    (1 << 20) + 1024 * bytes.len()
}

#[test]
fn mutants() {
    let corpus = Corpus { files: FILES.map(|text| text.as_bytes().to_vec()).to_vec(), words: &WORDS };
    Suite { name: "dataset_toml", corpus, n_mutants: 12_000, run: targets::dataset_toml, bound, repair: None }.test();
}

/// Brackets, tables and dotted keys a hundred thousand deep: parsing and dropping them must not run out of stack.
#[test]
fn deep_nesting_is_an_error() {
    for text in nested(100_000) {
        assert!(!targets::dataset_toml(text.as_bytes()));
    }
}

/// Texts nested `depth` deep in each way that TOML has.
pub fn nested(depth: usize) -> [String; 5] {
    let path = vec!["a"; depth].join(".");
    [
        format!("organ = {}", "[".repeat(depth)),
        format!("organ = {}{}", "[".repeat(depth), "]".repeat(depth)),
        format!("organ = {}", "{a=".repeat(depth)),
        format!("[{path}]\nx = 1"),
        format!("{path} = 1"),
    ]
}
